"""How large a cache a model needs, by the size of its files or else by its name; `spec.cache.size` says it exactly."""

import math
import re
from typing import Final

UNKNOWN: Final = "50Gi"
_BYTES_PER_PARAMETER: Final = 2  # float16, as nearly every Llama is published
_MARGIN: Final = 1.25  # the next revision's changed files while this one still serves, tokenizer, file system
_SMALLEST_GIB: Final = 2
_PARAMETERS: Final = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")


def cache_size(repo: str, model_bytes: int | None = None) -> str:
    """Return the size of the cache of `repo` as a Kubernetes quantity, in whole GiB.

    Where the size of the files is known, it counts. Else the largest number of the form 70b, 135M or 8x7B in the name
    counts as the parameters; without one the size is a guess that holds models of up to about 20 billion parameters.
    """
    if model_bytes is not None:
        return _gib(model_bytes)
    found = _PARAMETERS.findall(repo.rpartition("/")[2].lower())
    if not found:
        return UNKNOWN
    parameters = max(int(times or 1) * float(count) * (1e9 if unit == "b" else 1e6) for times, count, unit in found)
    return _gib(parameters * _BYTES_PER_PARAMETER)


def _gib(count: float) -> str:
    return f"{max(_SMALLEST_GIB, math.ceil(count * _MARGIN / 2**30))}Gi"
