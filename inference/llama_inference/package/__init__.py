"""A Truss package behind this server: what its supervisor reports, and whole requests passed on to the truss server."""
