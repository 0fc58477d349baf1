"""The result as a picture: one panel a number of beams, one bar a way, one group a number of callers."""

from collections.abc import Sequence as Seq
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks.serving.report import Row

WAYS: Final = (
    ("native", "native engine"),
    ("alone", "generate, one at a time"),
    ("batching", "transformers batching"),
    ("vllm", "vLLM on the CPU"),
)
WIDTH: Final = 0.2


def plot(rows: Seq[Row], title: str, file: Path) -> bool:
    """Draw `rows` into an SVG file; False where matplotlib is not installed (uv sync --group benchmarks)."""
    if find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "llama-operator"
    from matplotlib import pyplot as plt  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    kinds = sorted({row.beams for row in rows})
    figure, panels = plt.subplots(1, len(kinds), figsize=(6 * len(kinds), 4), squeeze=False)
    for beams, panel in zip(kinds, panels[0], strict=True):
        _panel(panel, [row for row in rows if row.beams == beams], beams)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return True


def _panel(panel: Any, rows: Seq[Row], beams: int) -> None:  # noqa: ANN401 - matplotlib may not be there
    for place, (name, label) in enumerate(WAYS):
        values = [getattr(row, name) or 0.0 for row in rows]
        if any(values):
            panel.bar([index + place * WIDTH for index in range(len(rows))], values, WIDTH, label=label)
    panel.set_xticks([index + WIDTH * 1.5 for index in range(len(rows))], [str(row.callers) for row in rows])
    panel.set_xlabel("callers at once")
    panel.set_ylabel("returned tokens a second")
    panel.set_title("greedy" if beams == 1 else f"{beams} beams")
    panel.legend()
