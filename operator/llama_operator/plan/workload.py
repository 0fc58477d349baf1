"""The pods: of which template, commit and image they are, by which rollout, and the Deployment that keeps them."""

from dataclasses import replace
from typing import Any

from llama_operator import names
from llama_operator.plan import objects, pods, revisions
from llama_operator.plan.diff import digest
from llama_operator.plan.history import Revision, Rollout
from llama_operator.plan.observed import Key, Object, Observed, PreflightResult
from llama_operator.plan.revision import asked_for, to_load
from llama_operator.plan.settings import PlanSettings
from llama_operator.plan.strategy import strategy
from llama_operator.plan.wanted import wanted_refs
from llama_operator.spec.model import LlamaDeploymentSpec


def deployment(spec: LlamaDeploymentSpec, seen: Observed, wanted: Revision, rollout: Rollout) -> dict[str, Any]:
    """Return the Deployment of the pods that a rollout wants."""
    live = seen.children.get(wanted_refs(seen.key).workload)
    # A way back is taken as the way there was: whatever room there was may be what the failed pods hold.
    begins = revisions.template_of(live) != revisions.template_of(wanted) and rollout.why != "RolledBack"
    how = strategy(spec.rollout, live, begins=begins, room=rollout.room)
    annotations = {**wanted.annotations, names.ANNOTATION_REVISION: str(wanted.number)}
    return objects.deployment(
        spec, seen.key, seen.body, template=wanted.template, annotations=annotations, strategy=how
    )


def advanced(
    spec: LlamaDeploymentSpec, seen: Observed, settings: PlanSettings, preflight: PreflightResult, rollout: Rollout
) -> tuple[Revision, Rollout]:
    """Return the rollout that the pods are to have, and all of them."""
    if rollout.keep is not None:
        return rollout.keep, replace(rollout, running=rollout.keep.number)
    template, annotations = _template(spec, seen, settings, preflight, rollout)
    wanted = Revision(
        number=0,
        template=template,
        annotations=annotations,
        intent=intent(spec, seen.key, settings),
        spec=revisions.about_pods(spec),
        started=revisions.stamp(seen.now),
    )
    return revisions.advance(rollout, wanted, seen.children.get(wanted_refs(seen.key).workload))


def intent(spec: LlamaDeploymentSpec, key: Key, settings: PlanSettings) -> str:
    """Return a digest of all that the spec says about pods, the same whatever the branch and default image are now.

    Raises:
        SpecError: if `spec.podTemplate` cannot be merged.
    """
    return digest(pods.template(spec, key.name, spec.engine.image or "", asked_for(spec.model), settings))


def _template(
    spec: LlamaDeploymentSpec, seen: Observed, settings: PlanSettings, preflight: PreflightResult, rollout: Rollout
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the pod template, and the annotations of its Deployment.

    Where the spec names no image, the pods keep the default that they run until something else in their template
    changes: an upgrade of the operator must not restart them.
    """
    name, live = seen.key.name, seen.children.get(wanted_refs(seen.key).workload)
    revision = to_load(spec, seen, preflight)
    annotations = {names.ANNOTATION_MODEL: asked_for(spec.model)}
    image = spec.engine.image
    if image is None:
        rest = digest(pods.template(spec, name, "", revision, settings))
        annotations[names.ANNOTATION_DEFAULT_IMAGE] = rest
        image = settings.inference_image
        if live is not None and live["metadata"].get("annotations", {}).get(names.ANNOTATION_DEFAULT_IMAGE) == rest:
            image = _image_asked_for(live, rollout) or image
    template = pods.template(spec, name, image, revision, settings)
    return template, {**annotations, names.ANNOTATION_TEMPLATE: digest(template)}


def _image_asked_for(live: Object, rollout: Rollout) -> str | None:
    """Return the image that a live Deployment was applied with: a webhook may have named another registry since."""
    number = revisions.current(live)
    row = next((row for row in rollout.revisions if row.number == number), None)
    return running_image(live if row is None else {"spec": {"template": row.template}})


def running_image(deployment: Object) -> str | None:
    """Return the image of the inference server in a live Deployment."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return next((row["image"] for row in containers if row["name"] == names.CONTAINER), None)
