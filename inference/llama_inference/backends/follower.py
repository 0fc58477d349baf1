"""The backend of a node that computes for a leader on another one: it answers nobody, and says where to ask."""

from collections.abc import Sequence as Seq
from typing import NoReturn

from llama_inference.backends.base import Control
from llama_inference.engine.native.stepper import Stepper
from llama_inference.engine.parallel.children import Children
from llama_inference.engine.parallel.following import Follower
from llama_inference.engine.parallel.topology import Topology
from llama_inference.errors import UnavailableError
from llama_inference.text.vocabulary import Vocabulary
from llama_inference.values import Generation, Json, ModelInfo, Sequence


class FollowerBackend:
    """The ranks of this node."""

    def __init__(
        self, info: ModelInfo, follower: Follower, stepper: Stepper, children: Children, ranks: Topology
    ) -> None:
        self.info = info
        self._follower = follower
        self._stepper = stepper
        self._children = children
        self._ranks = ranks

    def follow(self) -> None:
        """Compute until the leader says that it is over.

        Raises:
            EngineLostError: the leader is gone, or a step failed here.
        """
        self._follower.follow(self._stepper)
        self._children.end(patience=5.0)

    @property
    def vocabulary(self) -> Vocabulary:
        """Itself, which refuses as soon as a token is looked up; that there is one tells which backend this is."""
        return self

    def hidden(self, token: int) -> bool:
        """Refused."""
        del token
        self._refuse()

    def adds(self, token: int, after: int | None) -> bytes:
        """Refused."""
        del token, after
        self._refuse()

    def literal(self, token: int) -> bytes:
        """Refused."""
        del token
        self._refuse()

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Refused: see `_refuse`."""
        del text, special
        self._refuse()

    def render(self, messages: Seq[dict[str, str]], **how: Json) -> str:
        """Refused."""
        del messages, how
        self._refuse()

    def generate(self, generation: Generation, control: Control) -> list[Sequence]:
        """Refused."""
        del generation, control
        self._refuse()

    def warm_up(self) -> None:
        """Nothing to do: the leader warms up, and this node with it."""

    def _refuse(self) -> NoReturn:
        it = self._ranks
        message = f"this is node {it.node} of {it.nodes}, which computes for node 0: send requests to {it.address}"
        raise UnavailableError(message, code="not_the_leader", retry_after=1)
