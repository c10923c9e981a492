"""Is a pod's size tuned together with the autoscaler's target cheaper than one after the other, at equal trials?"""
