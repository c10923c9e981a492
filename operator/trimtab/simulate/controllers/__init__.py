"""What runs a cluster: controllers in virtual time over the objects in memory."""
