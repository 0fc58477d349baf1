"""A LlamaDeployment as `-o json` shows it, and as a row of a table. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from kubectl_llama.view import text, timeline

Object = Mapping[str, Any]
COLUMNS: Final = ("NAME", "MODEL", "READY", "PHASE", "REVISION", "ETA", "AGE")


def revision(status: Object) -> int | None:
    """Return the number of the newest rollout."""
    rows = status.get("history") or ()
    return rows[0]["revision"] if rows else None


def paths(name: str) -> list[str]:
    """Return where a model answers, below its URL."""
    return [f"/v1/models/{name}:predict", "/predict", "/v1/chat/completions"]


def as_json(body: Object) -> dict[str, Any]:
    """Return name, state and address, and what it took to get there."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    url = status.get("url")
    package: Object | None = spec.get("package")
    shown: dict[str, Any] = {
        "name": metadata["name"],
        "namespace": metadata.get("namespace"),
        "revision": revision(status),
        "phase": status.get("phase", "Pending"),
        "ready": status.get("ready", "0/0"),
        "model": (spec.get("model") or {}).get("repo"),
        "predict": {"url": url.removesuffix("/predict") if url else None, "paths": paths(metadata["name"])},
        "conditions": [
            {key: row.get(key) for key in ("type", "status", "reason", "message")}
            for row in status.get("conditions") or ()
        ],
        "ignored": [],
        "seconds": timeline.seconds(status),
    }
    return {**shown, **({"package": {"digest": package.get("digest"), "where": where(package)}} if package else {})}


def where(package: Object) -> str:
    """Return what holds a package."""
    claim: Object = package.get("claim") or {}
    return str(package.get("configMap") or package.get("image") or claim.get("name") or "")


def row(body: Object, now: datetime) -> tuple[str, ...]:
    """Return the row of a table."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    model: Object = spec.get("model") or {}
    return (
        metadata["name"],
        str(model.get("repo") or f"package {where(spec.get('package') or {})}"),
        status.get("ready", "0/0"),
        status.get("phase", "Pending"),
        str(revision(status) or "-"),
        (status.get("startup") or {}).get("eta", ""),
        text.age(metadata.get("creationTimestamp"), now),
    )


def table(rows: list[tuple[str, ...]], columns: tuple[str, ...]) -> list[str]:
    """Return the lines of a table as kubectl aligns them."""
    widths = [max(len(row[at]) for row in (columns, *rows)) for at in range(len(columns))]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (columns, *rows)
    ]
