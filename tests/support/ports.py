"""Ports for servers that tests start."""

import socket


def free_port() -> int:
    """A port of the loopback interface that nobody listens on; whoever is told it must be quick."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
