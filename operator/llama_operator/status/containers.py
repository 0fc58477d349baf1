"""Why a placed pod does not run: the kubelet's words about images, volumes, containers and memory."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from llama_operator.names import (
    CONTAINER,
    ENVIRONMENT_COMPONENT,
    LABEL_COMPONENT,
    LAY_OUT,
    PACKAGE_CONTAINER,
    PACKAGE_TOOLS,
)
from llama_operator.plan.engines import TGI
from llama_operator.plan.observed import Object, Observed
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.status.endings import Ending, problem
from llama_operator.status.pods import condition_of, containers
from llama_operator.status.problems import Problem, short
from llama_operator.status.reason import Reason

_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"})
_CREATE = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_UNMADE = frozenset({"ContainerCreating", "PodInitializing"})
_MOUNT = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})

_IMAGES: Final[Mapping[str, str]] = {
    CONTAINER: "spec.engine.image",
    TGI: "spec.engine.tgi.image",
    PACKAGE_TOOLS: "spec.engine.image",
    LAY_OUT: "the chart's package.builderImage",
    PACKAGE_CONTAINER: "spec.package.image, base_image of config.yaml or the chart's package.images",
}
"""Container → the field that names its image."""


def of_pod(spec: LlamaDeploymentSpec, seen: Observed, pod: Object) -> Iterator[Problem]:
    """Yield why the server's container of an active, unready pod does not run, or that of the engine beside it."""
    if _is_unmounted(pod):
        yield from _volumes(seen, pod["metadata"]["name"])
        return
    for state in containers(pod):
        yield from of_container(spec, seen, pod, state)


def of_container(spec: LlamaDeploymentSpec, seen: Observed, pod: Object, state: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield why one container does not run; `state` is its status."""
    waiting: dict[str, Any] = state.get("state", {}).get("waiting") or {}
    reason, words = waiting.get("reason", ""), short(waiting.get("message", ""))
    name = pod["metadata"]["name"]
    if reason in _PULL:
        yield _model_image(spec, waiting) or _image(spec, pod, state, words)
    elif reason in _CREATE:
        which = "the container" if state["name"] == CONTAINER else f"container {state['name']}"
        fix = f"correct spec.podTemplate or {_IMAGES[state['name']]}"
        if spec.model.image:
            fix += ", or use nodes that mount images (containerd 2.1, CRI-O 1.31): spec.model.source is oci"
        yield Problem(
            Reason.CONTAINER_NOT_CREATED, f"{which} of pod {name} cannot be created: {words or reason}; {fix}"
        )
    else:
        yield from _ended(spec, seen, state, name)


def _is_unmounted(pod: Object) -> bool:
    """Whether none of the pod's containers was made yet, for which its volumes have to be there."""
    status = pod.get("status", {})
    rows = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    states: list[Mapping[str, Any]] = [row.get("state") or {} for row in rows]
    return bool(rows) and all((state.get("waiting") or {}).get("reason") in _UNMADE for state in states)


def _model_image(spec: LlamaDeploymentSpec, waiting: Mapping[str, Any]) -> Problem | None:
    """Return that the model's image cannot be pulled: kubelets tell of a volume's image as of the container's own."""
    model, words = spec.model.image, waiting.get("message", "")
    if model is None or f'"{model.reference}"' not in words:
        return None
    return Problem(
        Reason.IMAGE_PULL_FAILED,
        f"image {model.reference} with the model cannot be pulled ({short(words)}): correct "
        "spec.model.image.reference, or name the registry's imagePullSecrets in spec.podTemplate.spec",
    )


def _image(spec: LlamaDeploymentSpec, pod: Object, state: Mapping[str, Any], words: str) -> Problem:
    made = (pod["metadata"].get("labels") or {}).get(LABEL_COMPONENT) == ENVIRONMENT_COMPONENT
    name = PACKAGE_CONTAINER if made and state["name"] == CONTAINER else state["name"]
    field = _IMAGES[name]
    is_default = name == CONTAINER and not spec.engine.image
    fix = f"name another in {field}" if is_default else f"correct {field}"
    return Problem(
        Reason.IMAGE_PULL_FAILED,
        f"image {state.get('image')} cannot be pulled ({words}): {fix}, or name the registry's imagePullSecrets in "
        "spec.podTemplate.spec",
    )


def _volumes(seen: Observed, pod: str) -> Iterator[Problem]:
    for event in seen.events:
        about = event.get("involvedObject") or event.get("regarding") or {}
        if about.get("name") != pod or event.get("reason") not in _MOUNT:
            continue
        words = short(event.get("message") or event.get("note") or "")
        fix = "kubectl describe pod says more"
        if "Multi-Attach" in words:
            fix = "a ReadWriteOnce cache serves one node at a time; use spec.rollout.strategy Recreate, or a cache "
            fix += "with accessMode ReadWriteMany"
        yield Problem(Reason.VOLUME_NOT_MOUNTED, f"a volume of pod {pod} cannot be mounted ({words}): {fix}")
        return


def _ended(spec: LlamaDeploymentSpec, seen: Observed, state: Mapping[str, Any], pod: str) -> Iterator[Problem]:
    ended: dict[str, Any] = (
        state.get("state", {}).get("terminated") or state.get("lastState", {}).get("terminated") or {}
    )
    if ended and ended.get("exitCode") != 0:
        ending = Ending(pod, ended.get("exitCode", 1), ended.get("reason", ""), ended.get("message", ""), state["name"])
        yield problem(spec, seen.secret, ending)


def of_ended_pods(pods: Iterable[Object]) -> Iterator[Problem]:
    """Yield why a pod was taken off its node: evicted for what it used, or to make room."""
    for pod in pods:
        status = pod.get("status", {})
        if status.get("phase") != "Failed":
            continue
        name, words = pod["metadata"]["name"], short(status.get("message", ""))
        disrupted = condition_of(pod, "DisruptionTarget") or {}
        if status.get("reason") == "Preempting" or disrupted.get("reason") == "PreemptionByScheduler":
            yield Problem(
                Reason.PREEMPTED,
                f"pod {name} had to make room for pods of a higher priority ({words}): set "
                "spec.scheduling.priorityClassName, or add a node",
            )
        elif status.get("reason") == "Evicted":
            yield Problem(Reason.EVICTED, f"pod {name} was evicted ({words}): {_room(words)}")


def _room(words: str) -> str:
    if "ephemeral" in words or "EmptyDir" in words or "DiskPressure" in words:
        return "free the node's disk, or request ephemeral-storage for the container in spec.podTemplate"
    return "raise spec.resources.memory so that it gets a node with room"
