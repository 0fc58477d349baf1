"""The LlamaDeployment's spec as types: names, defaults, bounds, and what each field means.

The CRD is generated from here (`spec.crd`); rules that need more than one field are CEL, beside the fields.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from llama_operator.spec.auth import Auth
from llama_operator.spec.cache import Cache
from llama_operator.spec.cost import CostSpec
from llama_operator.spec.engine import ENGINE_RULES, NAMES, EngineName, Tgi
from llama_operator.spec.generation import Generation
from llama_operator.spec.network import Monitoring, NetworkPolicy
from llama_operator.spec.package import Package
from llama_operator.spec.part import Open, Part, Words
from llama_operator.spec.pod_template import POD_TEMPLATE
from llama_operator.spec.rollout import Rollout
from llama_operator.spec.scaling import DisruptionBudget, Scaling
from llama_operator.spec.source import ModelSource
from llama_operator.spec.values import (
    OPEN,
    RULES,
    Image,
    ObjectName,
    Product,
    Quantity,
    ResourceName,
    Text,
    rule,
)

ANY_PRODUCT: Final = "any"


class Engine(Part):
    """The inference server and its limits."""

    model_config = ConfigDict(json_schema_extra=ENGINE_RULES)

    name: EngineName = Field(default="native", description=NAMES)
    image: Image | None = Field(
        default=None,
        description="Image of the inference server. Unset: the operator's default of the time when the pods were "
        "last rolled; an upgrade of the operator alone restarts none.",
    )
    args: Annotated[tuple[Text, ...], Field(max_length=64)] = Field(
        default=(), description="More arguments for `llama-inference serve`."
    )
    tgi: Tgi = Field(default_factory=Tgi, description="The TGI server beside ours, for the engine tgi.")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto",
        description="Type of the weights. auto: float16 on a GPU, else the widest type the CPU computes.",
    )
    max_context_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="Upper bound for prompt and output together, in tokens; unset: the model's own."
    )
    max_concurrent_sequences: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None,
        description="Sequences that are computed at once; each beam is one. Preflight reserves KV cache for as many of "
        "maxContextTokens each. Unset: as many as the engine finds room for, and preflight reserves for one request "
        "with its default beams.",
    )
    max_queued_requests: int = Field(
        default=64, ge=0, le=100000, description="Requests that wait for the engine; the next one is answered 429."
    )


class Gpu(Part):
    """GPUs of each replica."""

    count: int = Field(
        default=2, ge=0, le=1024, description="GPUs of each replica, on each of its nodes; 0 runs on CPUs."
    )
    nodes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Nodes that each replica is spread over, one pod on each; above 1 needs LeaderWorkerSet "
        "(https://lws.sigs.k8s.io) in the cluster.",
    )
    product: Product = Field(
        default="A100",
        description="Product: a name such as A100, H100 or L40S, or the exact value of the node label "
        "nvidia.com/gpu.product; any: whichever. Nodes without that label are taken as they are.",
    )
    resource_name: ResourceName = Field(
        default="nvidia.com/gpu", description="Extended resource that stands for one GPU."
    )
    memory: Quantity | None = Field(
        default=None,
        description="Memory of one GPU, such as 80Gi. Unset: as the nodes' labels or the product say.",
    )


class Resources(Part):
    """What each replica asks of its node."""

    gpu: Gpu = Field(default_factory=Gpu, description="GPUs of each replica.")
    cpu: Quantity = Field(default="500m", description="CPU request.")
    memory: Quantity = Field(
        default="2Gi", description="Memory request; with GPUs, weights pass through the page cache."
    )
    memory_limit: Quantity | None = Field(default=None, description="Memory limit; unset: none.")
    shared_memory: Quantity = Field(
        default="1Gi", description="Size of /dev/shm, which GPUs use to talk to each other."
    )


class ServiceSpec(Part):
    """The predict Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="Type of the Service."
    )
    port: int = Field(default=80, ge=1, le=65535, description="Port of the Service.")
    annotations: Words = Field(default_factory=dict, description="Annotations of the Service.")


class Scheduling(Part):
    """Where pods may run."""

    node_selector: Words = Field(default_factory=dict, description="Labels that a node must have.")
    tolerations: Annotated[
        tuple[dict[str, Any], ...], WithJsonSchema({"type": "array", "items": OPEN, "maxItems": 64})
    ] = Field(default=(), description="Taints that pods tolerate, besides the one of GPU nodes.")
    affinity: Open = Field(default_factory=dict, description="Affinity; holds together with the one for the GPUs.")
    priority_class_name: ObjectName | None = Field(default=None, description="Priority class.")
    runtime_class_name: ObjectName | None = Field(default=None, description="Runtime class, such as nvidia.")
    topology_spread: Annotated[
        tuple[dict[str, Any], ...], WithJsonSchema({"type": "array", "items": OPEN, "maxItems": 16})
    ] = Field(
        default=(), description="Topology spread constraints; without a labelSelector they count this one's pods."
    )


class Preflight(Part):
    """What is checked before anything is claimed."""

    mode: Literal["enforce", "warn", "off"] = Field(
        default="enforce",
        description="enforce: no pod and no volume is created while a check fails; what runs goes on. warn: checks "
        "only tell. off: nothing is checked, and the Hub is not asked.",
    )


PACKAGE_RULES: Final = [
    rule(
        "has(self.model) != has(self.package)",
        "name either model, to serve a model, or package, to serve a Truss package",
    ),
    rule(
        "has(self.package) == has(oldSelf.package)",
        "a model cannot become a package, nor a package a model: create a LlamaDeployment of another name",
    ),
    rule(
        "!has(self.package) || self.engine.name == 'native'",
        "engine.name is for models: leave it out, for a package brings its own code",
        path=".engine.name",
    ),
    rule(
        "!has(self.package) || self.engine.dtype == 'auto' && !has(self.engine.maxContextTokens) && "
        "!has(self.engine.maxConcurrentSequences)",
        "engine's dtype, maxContextTokens and maxConcurrentSequences are for models: leave them out",
        path=".engine",
    ),
    rule(
        "!has(self.package) || !self.cache.shared",
        "cache.shared is for models: leave it out, for the environments of packages are always shared",
        path=".cache.shared",
    ),
    rule(
        "!has(self.package) || self.resources.gpu.nodes == 1",
        "a package runs on one node: set resources.gpu.nodes to 1",
        path=".resources.gpu.nodes",
    ),
    rule(
        "!has(self.package) || !self.package.development || self.replicas <= 1",
        "package.development is for one replica: set replicas to 1, or development to false",
        path=".replicas",
    ),
]


class LlamaDeploymentSpec(Part):
    """A Llama model to serve: the model, the GPUs, and how it is reached."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [
                rule(
                    "!self.cache.shared || !has(self.model) || self.model.source == 'hub'",
                    "cache.shared is for models from the Hub: leave it out, for with another source there is no cache",
                    path=".cache.shared",
                ),
                *PACKAGE_RULES,
            ]
        }
    )

    model: ModelSource = Field(
        default_factory=ModelSource.none,
        description="Which model, and where it comes from; needed unless package is set.",
    )
    package: Package | None = Field(
        default=None, description="A Truss package to serve in place of a model; docs/packages.md."
    )
    engine: Engine = Field(default_factory=Engine, description="The inference server and its limits.")
    replicas: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Pods that serve the model, as long as it does not sleep; 0 stops it and keeps the cache.",
    )
    resources: Resources = Field(default_factory=Resources, description="What each replica asks of its node.")
    generation: Generation = Field(
        default_factory=Generation, description="Defaults and maximums of the parameters of predict requests."
    )
    cache: Cache = Field(default_factory=Cache, description="The volume that keeps the model between restarts.")
    service: ServiceSpec = Field(default_factory=ServiceSpec, description="The predict Service.")
    auth: Auth = Field(default_factory=Auth, description="Who may call predict.")
    rollout: Rollout = Field(default_factory=Rollout, description="How pods are replaced when the spec changes.")
    scaling: Scaling = Field(
        default_factory=Scaling, description="Whether the pods stop while nobody asks, and what callers meet then."
    )
    disruption_budget: DisruptionBudget | None = Field(
        default=None, description="What drains of nodes must leave standing; unset: no PodDisruptionBudget."
    )
    scheduling: Scheduling = Field(default_factory=Scheduling, description="Where pods may run.")
    network_policy: NetworkPolicy = Field(
        default_factory=NetworkPolicy, description="Who may reach the pods, and what they may reach."
    )
    monitoring: Monitoring = Field(default_factory=Monitoring, description="Who reads the pods' metrics.")
    cost: CostSpec = Field(default_factory=CostSpec, description="What a GPU costs.")
    preflight: Preflight = Field(default_factory=Preflight, description="What is checked before anything is claimed.")
    pod_template: Annotated[dict[str, Any], WithJsonSchema(POD_TEMPLATE)] = Field(
        default_factory=dict,
        description="Merged onto the pod template as the last word. Lists merge by key: containers, initContainers, "
        "volumes and env by name, volumeMounts by mountPath, ports by containerPort; others replace; null removes.",
    )
    termination_grace_period_seconds: int = Field(
        default=120, ge=1, le=86400, description="How long a stopping pod may finish its requests."
    )

    @model_validator(mode="after")
    def _serves_one(self) -> "LlamaDeploymentSpec":
        if self.model.is_none != (self.package is not None):
            raise ValueError("name either model, to serve a model, or package, to serve a Truss package")
        return self
