"""Which tests one process runs one after another, when several processes share them."""

from typing import Final

from xdist.scheduler import LoadScopeScheduling

from tests.conftest import CLUSTER

_E2E: Final = "tests/e2e/"
# They make the Hub err, or need GPUs to spare; other modules of the folder are free.
_HUB: Final = ("test_cache", "test_predict", "test_rotation", "test_startup", "test_token")
_ROLLING: Final = ("test_lifecycle", "test_nodes", "test_rollout")
_SHARING: Final = {
    **dict.fromkeys(_HUB, "hub"),
    **dict.fromkeys(_ROLLING, "rolling"),
    **dict.fromkeys(("test_network", "test_operator"), "cluster"),
}


def group_of(nodeid: str) -> str:
    """The group of a test: the whole cluster's, one of the end-to-end tests', or its module."""
    module = nodeid.partition("::")[0]
    if module.startswith(_E2E):
        stem = module.removeprefix(_E2E).removesuffix(".py")
        return _SHARING.get(stem, stem)
    return "cluster" if module.startswith(CLUSTER) else module


class Groups(LoadScopeScheduling):
    """Hands out groups as a whole, the largest first."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
