"""The genuine truss server for tests: its environment, packages for it, and what it was seen to answer."""
