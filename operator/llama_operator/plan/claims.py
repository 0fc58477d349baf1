"""What of a plan would take room that nothing has yet: a volume, or pods. It is what preflight is for."""

from collections.abc import Iterable, Iterator, Mapping

from llama_operator import names
from llama_operator.plan import sleep
from llama_operator.plan.diff import contains
from llama_operator.plan.observed import Object, Observed, Ref, ref_of


def claimed(desired: Iterable[Object], seen: Observed) -> Iterator[Ref]:
    """Yield what would create a volume, or pods that are not there."""
    for obj in desired:
        ref = ref_of(obj)
        if ref == sleep.gateway_ref(seen.key):
            continue  # it has no GPU, and its room is next to nothing
        if _is_claim(obj, seen.children.get(ref), settled=ref in seen.settled):
            yield ref


def _is_claim(obj: Object, live: Object | None, *, settled: bool) -> bool:
    """Whether applying `obj` would create a volume, or pods that are not there."""
    if obj["kind"] not in ("PersistentVolumeClaim", "Deployment"):
        return False
    if live is None:
        return True
    if obj["kind"] == "PersistentVolumeClaim" or not obj["spec"]["replicas"]:
        return False
    annotations: Mapping[str, str] = live["metadata"].get("annotations") or {}
    same = annotations.get(names.ANNOTATION_TEMPLATE) == obj["metadata"]["annotations"][names.ANNOTATION_TEMPLATE]
    same = same and (settled or contains(live["spec"]["template"], obj["spec"]["template"]))
    return not same or obj["spec"]["replicas"] > live["spec"].get("replicas", 1)
