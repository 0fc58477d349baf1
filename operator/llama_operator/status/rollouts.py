"""A rollout in words: how far it is, how pods are replaced and why so, and what runs where it is not the spec's."""

from llama_operator import names
from llama_operator.plan.history import Revision
from llama_operator.plan.observed import PreflightResult
from llama_operator.plan.revision import is_commit, to_load
from llama_operator.plan.revisions import current
from llama_operator.plan.strategy import is_open
from llama_operator.spec.status import ModelRevision
from llama_operator.status.facts import Facts
from llama_operator.status.history import loads, repo_of
from llama_operator.status.pods import is_ready, of_rollout
from llama_operator.status.startup import has_done


def what_runs(facts: Facts) -> str:
    """Return what settled pods run."""
    keep = facts.rollout.keep
    if keep is None:
        return "the present spec"
    asked = f", as spec.rollout.rollbackTo asks: remove it to run the spec, revision {_newest(facts)}"
    return f"revision {keep.number}{asked if facts.rollout.why == 'RollbackTo' else ''}"


def _newest(facts: Facts) -> int:
    newest = facts.rollout.newest
    return newest.number if newest is not None else 0


def progress(facts: Facts) -> str:
    """Return how far a rollout is, and how it goes on."""
    keep, running = facts.rollout.keep, facts.rollout.running
    what = f"revision {running}" if running is not None else "the present spec"
    back = f"going back: {_updated(facts)}" if keep is not None else _updated(facts)
    return f"{back} pods run {what}{_manner(facts)}"


def paused(facts: Facts) -> str:
    """Return where a rollout was stopped, and how to let it go on."""
    return f"spec.rollout.paused holds it at {_updated(facts)} pods of the present spec: set it to false to go on"


def _updated(facts: Facts) -> str:
    return f"{min(_counted(facts), facts.spec.replicas)} of {facts.spec.replicas}"


def _counted(facts: Facts) -> int:
    """Return how many pods have the template; until it was seen, what the Deployment counts is the one before."""
    live = facts.deployment
    if live is None:
        return 0
    status, running = live.get("status", {}), facts.rollout.running
    seen = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    return status.get("updatedReplicas", 0) if seen and current(live) in (None, running) else 0


def _manner(facts: Facts) -> str:
    rollout, gpu = facts.spec.rollout, facts.spec.resources.gpu
    if rollout.strategy == "Recreate" or facts.deployment is None or not is_replacing(facts):
        return ""
    found_out = is_open(rollout) and gpu.count > 0
    if facts.rollout.surges:
        return "; a new pod is ready before an old one stops" + (", for GPUs were free" if found_out else "")
    why = f", for no node had {gpu.count} {gpu.resource_name} free for one more" if found_out else ""
    return f"; an old pod stops before a new one starts{why}"


def is_replacing(facts: Facts) -> bool:
    """Whether pods are on their way in place of others that have served."""
    newest, rows = facts.rollout.newest, facts.rollout.revisions
    under_way = facts.rollout.keep is not None or (newest is not None and newest.outcome == "Progressing")
    return under_way and any(row.outcome == "Succeeded" for row in rows)


def brings_another_model(facts: Facts) -> bool:
    """Whether the spec wants another model than the last pods that were rolled out have, or another commit of it."""
    served = _served(facts)
    if served is None or facts.rollout.keep is not None:
        return False
    return _model(served) not in (_wanted(facts), (None, None))


def has_loaded(facts: Facts) -> bool:
    """Whether a pod of the present rollout has its model, so that the cache has it too."""
    newest, live = facts.rollout.newest, facts.deployment
    if newest is None or live is None or _model(newest) != _wanted(facts) or not _counted(facts):
        return False
    pods = of_rollout(facts.seen, live, newest.number)
    if any(map(is_ready, pods)) or all(map(is_ready, facts.pods)):
        return True
    followed = facts.startup.pod_name if facts.startup is not None else None
    return has_done(facts.startup, "Download") and followed in {pod["metadata"]["name"] for pod in pods}


def meanwhile(facts: Facts) -> str:
    """Return what is served while another model is on its way; nothing where nobody serves."""
    served = _served(facts)
    if served is None or not facts.ready or not brings_another_model(facts):
        return ""
    row, model = revision_kept(served), facts.spec.model
    same = (row.repo, row.requested) == (model.repo, model.revision)
    commit = f", commit {row.commit}" if row.commit and same else ""
    return f"; the pods that are ready go on serving {row.repo} at {row.requested}{commit}"


def _served(facts: Facts) -> Revision | None:
    return next((row for row in reversed(facts.rollout.revisions) if row.outcome == "Succeeded"), None)


def _model(row: Revision) -> tuple[str | None, str | None]:
    return repo_of(row), loads(row)


def _wanted(facts: Facts) -> tuple[str, str]:
    return facts.spec.model.repo, to_load(facts.spec, facts.seen, facts.preflight or PreflightResult())


def revision_kept(row: Revision) -> ModelRevision:
    """Return the model of a rollout that runs again."""
    repo, _, requested = row.annotations.get(names.ANNOTATION_MODEL, "").rpartition("@")
    commit = loads(row)
    return ModelRevision(repo=repo, requested=requested, commit=commit if is_commit(commit) else None)
