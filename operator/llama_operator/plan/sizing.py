"""How large a cache a model needs, by the size of its files or else by its name; `spec.cache.size` says it exactly.

A volume of one LlamaDeployment has room for two revisions of it, for the next is fetched beside the one that serves;
what both have is there once. A shared one holds one commit.
"""

import math
import re
from typing import Final

UNKNOWN: Final = "50Gi"
_BYTES_PER_PARAMETER: Final = 2  # float16, as nearly every Llama is published
_MARGIN: Final = 0.25  # of one revision: tokenizer, what the file system takes, a guess by the name that is too low
_SMALLEST_GIB: Final = 2
_PARAMETERS: Final = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")


def cache_size(repo: str, model_bytes: int | None = None, *, shared: bool) -> str:
    """Return the size of the cache of `repo` as a Kubernetes quantity, in whole GiB.

    Where the size of the files is known, it counts. Else the largest number of the form 70b, 135M or 8x7B in the name
    counts as the parameters; without one the size is a guess that holds models of up to about 20 billion parameters,
    and two revisions of about 12.
    """
    revisions = held_revisions(shared=shared)
    if model_bytes is not None:
        return _gib(model_bytes, revisions)
    found = _PARAMETERS.findall(repo.rpartition("/")[2].lower())
    if not found:
        return UNKNOWN
    parameters = max(int(times or 1) * float(count) * (1e9 if unit == "b" else 1e6) for times, count, unit in found)
    return _gib(parameters * _BYTES_PER_PARAMETER, revisions)


def held_revisions(*, shared: bool) -> int:
    """Return how many revisions of its model a volume is to have room for."""
    return 1 if shared else 2


def _gib(count: float, revisions: int) -> str:
    return f"{max(_SMALLEST_GIB, math.ceil(count * (revisions + _MARGIN) / 2**30))}Gi"
