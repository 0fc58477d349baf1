"""A server that answers as the Hugging Face Hub does, from local folders, and misbehaves on request.

Start with `HubServer` in a test, or `python -m hub` in a container, steered by `RemoteHub`; `tests/hub` tells what the
true client makes of each answer. Standard library only, so that it runs on a bare Python image.
"""

from .faults import Fault, Kind
from .journal import Record
from .remote import RemoteHub
from .repos import Gate
from .server import HubServer

__all__ = ["Fault", "Gate", "HubServer", "Kind", "Record", "RemoteHub"]
