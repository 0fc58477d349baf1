"""Carry out a plan: apply, prune, touch. What the API server refuses for good is an outcome, not an error."""

import logging
from collections.abc import Mapping
from typing import Final

from llama_operator import names
from llama_operator.cluster.client import Cluster
from llama_operator.cluster.resources import LEASE, POD, SECRET, resource_of
from llama_operator.errors import ClusterError, NamespaceTerminatingError
from llama_operator.plan import sharing
from llama_operator.plan.diff import contains, content
from llama_operator.plan.observed import Object, Observed, Outcome, Plan, Ref, ref_of
from llama_operator.plan.webhooks import webhook_of

log = logging.getLogger(__name__)

_REFUSALS: Final = frozenset({400, 403, 404, 405, 413, 415, 422})
"""Answers that stay the same until somebody changes something: bad values, quota, missing rights or kinds."""


async def apply(cluster: Cluster, plan: Plan, seen: Observed) -> Outcome:
    """Do what the plan says; doing it twice is the same as once.

    A refused object does not hold up the others: each is one more thing that is right.

    Raises:
        NamespaceTerminatingError: if there is no use in going on.
        ClusterError: if the API server failed or somebody else was quicker; to be tried again as a whole.
    """
    applied: list[Ref] = []
    refused: dict[Ref, str] = {}
    admitted: dict[Ref, str] = {}
    for obj in plan.apply:
        ref = ref_of(obj)
        try:
            if sharing.is_shared(obj):
                made = await cluster.apply(obj, f"{names.FIELD_MANAGER}/{seen.key.name}")
            else:
                made = await _apply(cluster, obj, live=seen.children.get(ref))
        except ClusterError as error:
            if isinstance(error, NamespaceTerminatingError) or not _is_of_the_object(error):
                raise
            refused[ref] = str(error)
        else:
            applied.append(ref)
            if not contains(made, obj):
                admitted[ref] = content(made)
            log.info("applied %s %s", ref.kind, ref.name)
    pruned = [ref for ref in plan.prune if await _delete(cluster, seen, ref)]
    for ref in plan.release:
        await _release(cluster, seen, ref)
    for pod, annotations in plan.touch.items():
        await _touch(cluster, seen, pod, annotations)
    return Outcome(applied=tuple(applied), pruned=tuple(pruned), refused=refused, admitted=admitted)


def _is_of_the_object(error: ClusterError) -> bool:
    """Whether the others may be applied all the same: it was refused, or a webhook for its kind fails."""
    return error.status in _REFUSALS or webhook_of(str(error)) is not None


async def _apply(cluster: Cluster, obj: Object, *, live: Object | None) -> Object:
    if live is not None and obj["kind"] == LEASE.kind:
        # Others write on it as well, and what is written here answers what was read: status 409 if that has changed.
        version = {"resourceVersion": live["metadata"]["resourceVersion"]}
        obj = {**obj, "metadata": {**obj["metadata"], **version}}
    try:
        return await cluster.apply(obj)
    except ClusterError as error:
        if error.status != 422 or live is None or "spec" not in obj:
            raise
        # Applying keeps the list items of others, and ours may be impossible beside them, such as a second port of
        # one name. A merge patch replaces whole lists; where the fault is our own it is refused as well.
        key = obj["metadata"]["namespace"], obj["metadata"]["name"]
        await cluster.merge(resource_of(obj["apiVersion"], obj["kind"]), *key, {"spec": obj["spec"]})
        return await cluster.apply(obj)


async def _delete(cluster: Cluster, seen: Observed, ref: Ref) -> bool:
    """Delete what is wanted no more; return whether it is gone."""
    uid = seen.children[ref]["metadata"]["uid"]
    try:
        await cluster.delete(resource_of(ref.api_version, ref.kind), seen.key.namespace, ref.name, uid)
    except ClusterError as error:
        if error.status == 403 and ref.kind == SECRET.kind:
            # The operator was installed anew without the rights on API keys: what is left goes with its owner.
            log.debug("%s %s is left, for it may not be deleted", ref.kind, ref.name)
            return False
        if error.status != 404:
            raise
    log.info("deleted %s %s, which is wanted no more", ref.kind, ref.name)
    return True


async def _release(cluster: Cluster, seen: Observed, ref: Ref) -> None:
    """Let go of a shared object, and delete it if nobody else owns it; 409 if somebody has taken it up meanwhile."""
    live = seen.children[ref]
    metadata = live["metadata"]
    resource = resource_of(ref.api_version, ref.kind)
    if all(row["uid"] == seen.uid for row in sharing.owners(live)):
        version = metadata["resourceVersion"]
        await cluster.delete(resource, seen.key.namespace, ref.name, metadata["uid"], version=version)
        log.info("deleted %s %s, which nobody uses any more", ref.kind, ref.name)
        return
    others = [row for row in sharing.owners(live) if row["uid"] != seen.uid]
    # With the version it is refused if the owners have changed meanwhile, for a merge replaces the whole list.
    patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "ownerReferences": others}}
    await cluster.merge(resource, seen.key.namespace, ref.name, patch)
    log.info("left %s %s to those who still use it", ref.kind, ref.name)


async def _touch(cluster: Cluster, seen: Observed, pod: str, annotations: Mapping[str, str]) -> None:
    patch = {"metadata": {"annotations": dict(annotations)}}
    try:
        await cluster.merge(POD, seen.key.namespace, pod, patch)
    except ClusterError as error:
        if error.status != 404:
            raise
