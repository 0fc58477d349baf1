"""A repository of the test's own on a Hub that other tests use at the same time: what they fetch is not seen here."""

from dataclasses import dataclass
from typing import Any, Final, Unpack

from tests.support.hub.faults import Kind
from tests.support.hub.journal import Record
from tests.support.hub.remote import RemoteHub
from tests.support.hub.state import FaultOptions

WEIGHTS: Final = "model.safetensors"


@dataclass(frozen=True, slots=True)
class OwnRepo:
    """One repository, its requests and its faults."""

    hub: RemoteHub
    name: str

    @property
    def requests(self) -> list[Record]:
        """The requests for anything in it."""
        return [record for record in self.hub.requests if record.repo == self.name]

    @property
    def transfers(self) -> list[Record]:
        """The requests for the weights."""
        return [record for record in self.requests if record.file == WEIGHTS]

    def publish(self, path: str, **options: Any) -> str:
        """Serve another folder of models under the name; gives the commit."""
        return self.hub.add_repo(self.name, path, **options)

    def fault(self, kind: Kind, **options: Unpack[FaultOptions]) -> None:
        """Let requests for the weights go wrong; see `Hub.fault`."""
        self.hub.fault(kind, **{"repo": self.name, "file": WEIGHTS, **options})
