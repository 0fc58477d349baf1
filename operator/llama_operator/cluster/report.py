"""Write a report to the cluster: the status if it is another one, then the events."""

from llama_operator.cluster.client import Cluster
from llama_operator.cluster.events import record
from llama_operator.cluster.resources import LLAMA
from llama_operator.cluster.storms import StormLimit
from llama_operator.errors import ClusterError
from llama_operator.plan.observed import Observed, Report


async def write(cluster: Cluster, seen: Observed, report: Report, limit: StormLimit) -> bool:
    """Write a report on what was seen; return whether there is still somebody to read it.

    The status replaces the one that was seen, and nothing newer: if the LlamaDeployment has changed since, the
    report is out of date. Of the events as many are recorded as `limit` allows.

    Raises:
        ClusterError: with status 409 if it has; else if the API server failed.
    """
    if report.status != seen.body.get("status"):
        try:
            await cluster.replace({**seen.body, "status": report.status}, "status")
        except ClusterError as error:
            # Deleted while it was worked on; that it is not found otherwise is a failure as any.
            if error.status != 404 or await cluster.get(LLAMA, seen.key.namespace, seen.key.name) is not None:
                raise
            return False
    # Events come of the change from the seen status to the new one, so they wait until that is written.
    for event in report.events:
        await record(cluster, seen.body, event, limit)
    return True
