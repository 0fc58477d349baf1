"""End to end: a package, so that the operator is uninstalled when the last of these tests is over."""
