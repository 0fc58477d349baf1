"""Whether the pods of a model are to run, to sleep, or are stopped: from the spec, and from what its gateways say."""

from collections.abc import Mapping
from typing import Any

from llama_operator import names
from llama_operator.plan import activity
from llama_operator.plan.activity import Pods
from llama_operator.plan.observed import Key, Object, Observed, Ref
from llama_operator.plan.settings import PlanSettings
from llama_operator.spec.model import LlamaDeploymentSpec


def lease_ref(key: Key) -> Ref:
    """Return the Lease by which gateways and operator agree."""
    return Ref(activity.API_VERSION, activity.KIND, names.activity_lease(key.name))


def gateway_ref(key: Key) -> Ref:
    """Return the gateway's Deployment."""
    return Ref("apps/v1", "Deployment", names.gateway(key.name))


def may_sleep(spec: LlamaDeploymentSpec) -> bool:
    """Whether there is a gateway."""
    return spec.scaling.min_replicas == 0


def is_asked(body: Object) -> bool:
    """Whether a raw LlamaDeployment asks for a gateway."""
    spec: Mapping[str, Any] = body.get("spec") or {}
    return (spec.get("scaling") or {}).get("minReplicas") == 0


def as_allowed(spec: LlamaDeploymentSpec, settings: PlanSettings) -> LlamaDeploymentSpec:
    """Return the spec as this operator serves it: where it is installed without gateways, no model sleeps."""
    if settings.gateway_enabled or not may_sleep(spec):
        return spec
    return spec.model_copy(update={"scaling": spec.scaling.model_copy(update={"min_replicas": 1})})


def is_denied(spec: LlamaDeploymentSpec, seen: Observed) -> bool:
    """Whether the gateway that was asked for is one that this operator does not make."""
    return is_asked(seen.body) and not may_sleep(spec)


def state(spec: LlamaDeploymentSpec, seen: Observed) -> Pods:
    """Return what the pods are to do.

    They sleep only where every request comes by a gateway: else one might come that nobody has counted.
    """
    # From the body: of a spec that is `at_rest` there is no telling.
    if seen.body["spec"].get("replicas") == 0:
        return Pods.STOPPED
    lease = seen.children.get(lease_ref(seen.key))
    service = seen.children.get(Ref("v1", "Service", seen.key.name))
    if not may_sleep(spec) or lease is None or service is None or not is_led_to(seen.key, service):
        return Pods.AWAKE
    return Pods.AWAKE if activity.read(lease).wanted else Pods.ASLEEP


def at_rest(spec: LlamaDeploymentSpec, seen: Observed) -> LlamaDeploymentSpec:
    """Return the spec as it holds now: without pods while they sleep."""
    return spec.model_copy(update={"replicas": 0}) if state(spec, seen) is Pods.ASLEEP else spec


def leads_to_gateway(spec: LlamaDeploymentSpec, seen: Observed) -> bool:
    """Whether the predict Service is to lead to the gateway: from the first moment on at which it answers."""
    if not may_sleep(spec):
        return False
    service = seen.children.get(Ref("v1", "Service", seen.key.name))
    led = service is not None and is_led_to(seen.key, service)
    return led or gateways(seen) > 0


def is_led_to(key: Key, service: Object) -> bool:
    """Whether a live predict Service leads to the gateway."""
    selector: Mapping[str, str] = service["spec"].get("selector") or {}
    return selector == names.gateway_selector(key.name)


def gateways(seen: Observed) -> int:
    """Return how many of the gateway's pods answer."""
    live = seen.children.get(gateway_ref(seen.key))
    return 0 if live is None else live.get("status", {}).get("availableReplicas", 0)


def startup_seconds(seen: Observed) -> float | None:
    """Return how long the last start took: from the status, or from the Lease, which remembers it over a sleep."""
    startup: Mapping[str, float] = (seen.body.get("status") or {}).get("startup") or {}
    lease = seen.children.get(lease_ref(seen.key))
    known = activity.read(lease).startup_seconds if lease is not None else None
    return startup.get("seconds", known)
