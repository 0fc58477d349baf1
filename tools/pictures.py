"""Terminal pictures of `kubectl llama` for the documentation: what real runs have printed, drawn by rich.

`python -m tools.pictures` runs the command's end-to-end tests on the cluster, which keep what they print, and draws it.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from tools.generate import ROOT

IMAGES: Final = ROOT / "docs" / "images"
RUNS: Final = IMAGES / "kubectl-llama.json"
KEEP: Final = "LLAMA_PICTURES"
"""Names the file in which the tests keep what was printed."""
_WIDTH: Final = 112
_STYLES: Final = (("✓", "green"), ("✗", "red"), ("▸", "cyan"), ("?", "yellow"), ("error:", "red"), ("fix:", "yellow"))
# The fonts that rich names would be fetched from elsewhere by whoever looks at the picture.
_FORMAT: Final = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def draw(verb: str, run: str) -> str:
    """Return the picture of a run: the command line first, then what it printed."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=_WIDTH, file=nowhere, force_terminal=True, color_system="truecolor")
        for line in run.rstrip().splitlines():
            console.print(_styled(line))
        return console.export_svg(title=f"kubectl llama {verb}", code_format=_FORMAT, unique_id=f"llama-{verb}")


def _styled(line: str) -> Text:
    if line.startswith("$ "):
        return Text(line, "bold")
    mark = line.strip().partition(" ")[0]
    text = Text(line)
    for known, style in _STYLES:
        if mark == known:
            text.stylize(style, line.index(known), line.index(known) + len(known))
    return text


def pictures(runs: Mapping[str, str]) -> dict[str, str]:
    """Return each picture by its file's name."""
    return {f"kubectl-llama-{verb}.svg": draw(verb, run) for verb, run in sorted(runs.items())}


def main() -> None:
    """Run the tests and draw what they kept."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cluster", "tests/e2e/test_kubectl_llama.py"]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, KEEP: str(RUNS)})
    for name, picture in pictures(json.loads(RUNS.read_text())).items():
        (IMAGES / name).write_text(picture)


if __name__ == "__main__":
    main()
