"""What the machine offers: the dtype of `auto`."""

from pathlib import Path

import pytest

from llama_inference.engine.device import choose_dtype, has_native_bf16


@pytest.mark.parametrize(
    ("setting", "gpu", "native", "dtype"),
    [
        ("auto", True, True, "float16"),
        ("auto", True, False, "float16"),
        ("auto", False, True, "bfloat16"),
        ("auto", False, False, "float32"),
        ("float32", True, True, "float32"),
        ("bfloat16", False, False, "bfloat16"),
        ("float16", False, False, "float16"),
    ],
)
def test_auto_is_what_the_processor_computes_well(setting: str, dtype: str, *, gpu: bool, native: bool) -> None:
    """float16 on a GPU, bfloat16 on a CPU that multiplies it, else float32; a setting is obeyed."""
    assert choose_dtype(setting, gpu=gpu, native_bf16=native) == dtype


@pytest.mark.parametrize(
    ("cpuinfo", "native"),
    [
        ("processor: 0\nflags\t\t: fpu avx512f avx512_bf16 amx_tile\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("model name: bf16 the brave\n", False),
        ("", False),
    ],
)
def test_bfloat16_is_native_where_the_processor_says_so(tmp_path: Path, cpuinfo: str, *, native: bool) -> None:
    """On x86 and on ARM; only in the list of its abilities."""
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert has_native_bf16(tmp_path / "cpuinfo") is native


def test_a_machine_that_does_not_tell_has_no_native_bfloat16(tmp_path: Path) -> None:
    """No such file."""
    assert has_native_bf16(tmp_path / "none") is False
