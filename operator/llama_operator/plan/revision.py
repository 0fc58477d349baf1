"""Which commit the pods load: resolved once, kept until the spec names another model.

A branch moves; pods that restart or are added must not. So the commit that pods run stays theirs, whatever else of the
spec changes, and to take up a newer one is an edit of `spec.model.revision`.
"""

import re
from collections.abc import Mapping
from typing import Final

from llama_operator import names
from llama_operator.plan import sharing, source
from llama_operator.plan.observed import Object, Observed, PreflightResult
from llama_operator.plan.wanted import is_ours, wanted_refs
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.spec.source import ModelSource

_COMMIT: Final = re.compile("[0-9a-f]{40}")


def asked_for(model: ModelSource) -> str:
    """Return how a Deployment notes what its commit was resolved from."""
    return f"{model.repo}@{model.revision}"


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a full commit, which never moves."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def running(deployment: Object, model: ModelSource) -> str | None:
    """Return the revision in the template of a live Deployment; None if it is for another model than the spec's."""
    annotations: Mapping[str, str] = deployment["metadata"].get("annotations") or {}
    if annotations.get(names.ANNOTATION_MODEL) != asked_for(model):
        return None
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        if container["name"] == names.CONTAINER:
            rows = container.get("env") or ()
            return next((row.get("value") for row in rows if row["name"] == names.Env.REVISION), None)
    return None


def commit_of(body: Object, model: ModelSource) -> str | None:
    """Return the commit that a LlamaDeployment's status knows for what its spec asks."""
    before: Mapping[str, str] = (body.get("status") or {}).get("revision") or {}
    same = (before.get("repo"), before.get("requested")) == (model.repo, model.revision)
    return before.get("commit") if same else None


def pinned(spec: LlamaDeploymentSpec, seen: Observed) -> str | None:
    """Return the revision that the pods have, or had and may find in the cache; None if there is none to keep."""
    wanted = wanted_refs(seen.key)
    live = seen.children.get(wanted.workload)
    found = running(live, spec.model) if live is not None and is_ours(live, seen) else None
    if found or spec.model.source != "hub":
        return found
    before = commit_of(seen.body, spec.model)
    name = source.claim_name(spec, seen.key.name, before) if before else None
    return before if name and sharing.claim_ref(name) in seen.children else None


def to_load(spec: LlamaDeploymentSpec, seen: Observed, preflight: PreflightResult) -> str:
    """Return the revision that the pods are to load: a commit, where one is known."""
    return pinned(spec, seen) or preflight.commit or spec.model.revision
