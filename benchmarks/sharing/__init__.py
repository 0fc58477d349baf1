"""What a pod computes with the share of the processors that its neighbours leave it.

A control group as a container's stands beside one that takes all it can get: see `__main__`.
"""
