"""Record events on a LlamaDeployment: one object for each thing that is said, counted up when it is said again."""

import hashlib
import logging
from datetime import UTC, datetime
from typing import Any, Final

from llama_operator.cluster.client import Cluster
from llama_operator.cluster.resources import EVENT
from llama_operator.cluster.storms import StormLimit
from llama_operator.errors import ClusterError, NamespaceTerminatingError
from llama_operator.names import MANAGED_BY
from llama_operator.plan.observed import Event, Object

log = logging.getLogger(__name__)

_MOST_CHARACTERS: Final = 1024


async def record(cluster: Cluster, about: Object, event: Event, limit: StormLimit) -> None:
    """Record an event; one that cannot be or is one too many is logged, for the status says the same."""
    if not limit.allows(about["metadata"]["uid"]):
        log.info("the event %s (%s) is not recorded: there were many just now", event.reason, event.message)
        return
    namespace, name = about["metadata"]["namespace"], _name(about, event)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        known = await cluster.get(EVENT, namespace, name)
        if known is None:
            await cluster.create(_new(about, event, name, now))
        else:
            await cluster.merge(EVENT, namespace, name, {"count": known.get("count", 1) + 1, "lastTimestamp": now})
    except NamespaceTerminatingError:
        return  # whoever deletes the namespace deletes its events
    except ClusterError as error:
        log.warning("the event %s (%s) is not recorded: %s", event.reason, event.message, error)


def _name(about: Object, event: Event) -> str:
    said = "\n".join((about["metadata"]["uid"], event.type, event.reason, event.message))
    return f"{about['metadata']['name']}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _new(about: Object, event: Event, name: str, now: str) -> dict[str, Any]:
    metadata = about["metadata"]
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": name, "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:_MOST_CHARACTERS],
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": MANAGED_BY},
        "reportingComponent": MANAGED_BY,
        "reportingInstance": MANAGED_BY,
    }
