"""When pods are replaced, and when they go back to what they were: decisions, without I/O."""
