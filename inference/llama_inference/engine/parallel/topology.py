"""Which ranks there are, on which node, and where the leader listens. Pure values."""

from dataclasses import dataclass

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The ranks of one model, numbered node by node.

    Attributes:
        per_node: ranks of each node; the first of them is the node's main process, the others are its children.
        node: this node's number; node 0 holds rank 0, the leader.
        address, port: where the leader listens; on one node a free port of the loopback interface.
    """

    per_node: int
    nodes: int = 1
    node: int = 0
    address: str = LOOPBACK
    port: int = 0

    @property
    def size(self) -> int:
        """How many ranks there are."""
        return self.nodes * self.per_node

    @property
    def own(self) -> int:
        """The rank of this node's main process."""
        return self.node * self.per_node

    @property
    def children(self) -> range:
        """The ranks that this node's main process starts."""
        return range(self.own + 1, self.own + self.per_node)

    def node_of(self, rank: int) -> int:
        """The node that a rank is on."""
        return rank // self.per_node

    def local(self, rank: int) -> int:
        """A rank's number within its node: which GPU it takes."""
        return rank % self.per_node
