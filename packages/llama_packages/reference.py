"""docs/packages.md's table: every field of config.yaml and what becomes of it."""

from typing import Final

from llama_packages.fields import FIELDS, TRUSS_VERSION, Field

BEGIN: Final = "<!-- fields: made by `make generate` -->"
END: Final = "<!-- end of fields -->"
_SUPPORT: Final = {"supported": "yes", "ignored": "ignored, with a warning", "refused": "**refused**"}


def table() -> str:
    """Return the table as Markdown."""
    head = f"| field of truss {TRUSS_VERSION} | served | what becomes of it |\n|---|---|---|\n"
    return head + "".join(map(_row, FIELDS.values()))


def _row(row: Field) -> str:
    below = " and all below it" if row.whole else ""
    return f"| `{row.path}`{below} | {_SUPPORT[row.support]} | {row.words} |\n"


def written(page: str) -> str:
    """Return the page with the table between its two marks.

    Raises:
        ValueError: the marks are not there.
    """
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{table()}{END}{after}"
