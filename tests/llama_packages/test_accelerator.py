"""Accelerators of config.yaml as the GPUs of a LlamaDeployment."""

import pytest

from llama_packages.accelerator import Accelerator, parse


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("A100:2", Accelerator("A100", 2)),
        ("T4", Accelerator("T4", 1)),
        ("A100_40GB", Accelerator("NVIDIA-A100-SXM4-40GB", 1)),
        ("H100_40GB", Accelerator("H100", 1, "nvidia.com/mig-3g.40gb")),
        (None, None),
    ],
)
def test_an_accelerator_is_a_product_and_a_count(written: str | None, found: Accelerator | None) -> None:
    """Without one there is no GPU."""
    assert parse(written) == found


@pytest.mark.parametrize("written", ["A1000", "A100:", "A100:two", "A100:0", 7])
def test_another_accelerator_is_told_what_to_write(written: object) -> None:
    """The message holds the value."""
    with pytest.raises(ValueError, match=str(written)):
        parse(written)
