"""What the safety rules withdraw for nothing, how soon they find what is bad, and what else is promised of them."""
