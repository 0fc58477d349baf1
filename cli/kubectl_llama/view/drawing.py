"""The timeline as rich draws it, with bars. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kubectl_llama.view.timeline import MARKS, Row

_STYLES: Final[Mapping[str, str]] = {"done": "green", "running": "cyan", "failed": "red", "pending": "dim"}


def timeline(rows: Sequence[Row], problem: str) -> RenderableType:
    """Return the stages, the one under way with its bar, and what stands in the way."""
    table = Table.grid(padding=(0, 1))
    for row in rows:
        bar = ProgressBar(total=1.0, completed=row.share, width=24) if row.share is not None else Text("")
        style = _STYLES.get(row.state, "")
        table.add_row(Text(f"{MARKS.get(row.state, '·')} {row.name}", style), bar, Text(row.words))
    return Group(table, Text(problem, "yellow")) if problem else table
