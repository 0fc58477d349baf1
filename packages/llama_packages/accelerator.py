"""`resources.accelerator` of config.yaml → the GPUs that a LlamaDeployment asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_PRODUCTS: Final[Mapping[str, tuple[str, str]]] = {
    **{
        name: (name, "nvidia.com/gpu")
        for name in ("T4", "L4", "A10G", "V100", "A100", "H100", "H200", "B200", "L40S", "B300", "GB300")
    },
    "RTX_PRO_6000": ("RTX-PRO-6000", "nvidia.com/gpu"),
    "A100_40GB": ("NVIDIA-A100-SXM4-40GB", "nvidia.com/gpu"),
    # Half of an H100: a slice of one, which device plugins offer as a resource of its own.
    "H100_40GB": ("H100", "nvidia.com/mig-3g.40gb"),
}

NAMES: Final = tuple(_PRODUCTS)
"""Accelerators that config.yaml may name."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """GPUs as `spec.resources.gpu` says them."""

    product: str
    count: int
    resource_name: str = "nvidia.com/gpu"


def parse(written: object) -> Accelerator | None:
    """Return the GPUs of `A100:2`; None where none are asked for.

    Raises:
        ValueError: with what to write instead.
    """
    if written is None or written == "":
        return None
    name, colon, count = str(written).strip().partition(":")
    if name not in _PRODUCTS:
        raise ValueError(f"{written!r} is no accelerator: write one of {', '.join(NAMES)}, with its count as in A100:2")
    if colon and not (count.isdecimal() and int(count)):
        raise ValueError(f"{written!r} has no count after the colon: write a number of GPUs, as in {name}:2")
    product, resource = _PRODUCTS[name]
    return Accelerator(product, int(count) if colon else 1, resource)
