"""Which revision to go back to. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_llama.errors import RefusedError

Object = Mapping[str, Any]


def target(body: Object, asked: int | None) -> int:
    """Return the revision to run: the one asked for, else the last before the newest that had served.

    Raises:
        RefusedError: if there is none.
    """
    name = body["metadata"]["name"]
    rows: Sequence[Object] = (body.get("status") or {}).get("history") or ()
    known = [row["revision"] for row in rows]
    if asked is not None:
        if asked in known:
            return asked
        has = f"it has {', '.join(map(str, known))}" if known else "it has none yet"
        raise RefusedError(f"{name} has no revision {asked}", fix=has, field="--to", code="NoSuchRevision")
    served = [row["revision"] for row in rows[1:] if row["outcome"] == "Succeeded"]
    if not served:
        fix = "kubectl llama status -o json shows its history"
        raise RefusedError(f"{name} has no earlier revision that had served", fix=fix, code="NoSuchRevision")
    return served[0]
