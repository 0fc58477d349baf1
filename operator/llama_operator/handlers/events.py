"""What wakes a key: a change of its LlamaDeployment or of a child. kopf watches; nothing here holds logic."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import kopf

from llama_operator import names
from llama_operator.cluster.resources import LEASE, POD, child_kinds
from llama_operator.plan.activity import is_answered
from llama_operator.plan.observed import Key

Wake = Callable[[Key], None]
_PAGE = 500
"""Objects in one answer, at the start of a watch and after a gap: whole kinds at once need not fit into memory."""
Login = Callable[[], Awaitable[kopf.ConnectionInfo]]


def watched(*, gateway: bool) -> Iterator[tuple[str, str, str]]:
    """Yield group, version and plural of the kinds that wake a key; with or without what only gateways have."""
    for resource in (*child_kinds(gateway=gateway), POD):
        yield resource.group, resource.api_version.rpartition("/")[2], resource.plural


def keys_of(meta: Mapping[str, Any]) -> tuple[Key, ...]:
    """Return the LlamaDeployments that a child belongs to: one by its label, several by their owner references."""
    owner = meta.get("labels", {}).get(names.LABEL_DEPLOYMENT)
    if owner == names.SHARED:
        rows = meta.get("ownerReferences") or ()
        return tuple(Key(meta["namespace"], row["name"]) for row in rows if row["kind"] == names.KIND)
    return (Key(meta["namespace"], owner),) if owner else ()


class Edits:
    """Tells an edit of a LlamaDeployment from what is written into its status, which calls for nothing.

    Compared is what somebody means something by: the spec, which the API server counts as the generation, labels and
    annotations, owners, and a deletion. One that was made anew has another UID.
    """

    def __init__(self) -> None:
        self._seen: dict[Key, object] = {}

    def is_news(self, meta: Mapping[str, Any], *, gone: bool) -> bool:
        """Return whether to look at a LlamaDeployment, of which an event tells."""
        key = Key(meta["namespace"], meta["name"])
        if gone:
            self._seen.pop(key, None)
            return True
        told = {name: value for name, value in meta.items() if name not in ("resourceVersion", "managedFields")}
        if self._seen.get(key) == told:
            return False
        self._seen[key] = told
        return True


def registry(wake: Wake, login: Login, *, gateway: bool = True) -> kopf.OperatorRegistry:
    """Return kopf's handlers; what only gateways have is watched where there may be any.

    Only `on.event`: the other kinds write annotations, or a finalizer, on what they watch.
    """
    found = kopf.OperatorRegistry()
    edits = Edits()

    @kopf.on.login(registry=found)
    async def logged_in(**_: object) -> kopf.ConnectionInfo:  # pyright: ignore[reportUnusedFunction] - kopf keeps it
        return await login()

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=found)
    async def changed(meta: kopf.Meta, type: str | None, **_: object) -> None:  # noqa: A002  # pyright: ignore[reportUnusedFunction]
        if edits.is_news(meta, gone=type == "DELETED"):
            wake(Key(meta["namespace"], meta["name"]))

    async def child_changed(meta: kopf.Meta, **_: object) -> None:
        for key in keys_of(meta):
            wake(key)

    async def lease_changed(body: kopf.Body, meta: kopf.Meta, **_: object) -> None:
        # Gateways renew theirs all the time; only a word that is not answered yet is news.
        if "deletionTimestamp" in meta or not is_answered(body):
            await child_changed(meta)

    for resource in watched(gateway=gateway):
        kopf.on.event(*resource, registry=found)(lease_changed if resource[2] == LEASE.plural else child_changed)
    return found


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: watch what carries our label, write nothing, notice a dead connection."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.scanning.disabled = True
    found.peering.standalone = True
    found.networking.request_timeout = 30
    found.networking.connect_timeout = 5
    found.networking.trust_env = True  # as the other client does
    # A stream is opened anew after so long, by the server and, should that be gone, by us.
    found.watching.server_timeout = 240
    found.watching.client_timeout = 300
    found.watching.chunk_size = _PAGE
    for resource in watched(gateway=True):
        found.watching.label_selectors[resource] = names.LABEL_DEPLOYMENT
    return found
