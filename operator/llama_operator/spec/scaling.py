"""The part of the spec about how many pods there are: sleep, and what may take pods away."""

from typing import Annotated, Final

from pydantic import ConfigDict, Field, model_validator

from llama_operator.spec.part import Part
from llama_operator.spec.values import RULES, CountOrPercent, rule

MAX_HELD: Final = 10000


class Scaling(Part):
    """Whether the pods stop while nobody asks, and what callers meet then; else there are `spec.replicas` of them."""

    min_replicas: int = Field(
        default=1,
        ge=0,
        le=1,
        description="0: without a request for idleSeconds the pods stop, and a gateway in front of them wakes them for "
        "the next one, unless the operator is installed without (the chart's gateway.enabled). 1: they stay, and there "
        "is no gateway.",
    )
    idle_seconds: int = Field(
        default=900, ge=5, le=604800, description="With minReplicas 0: how long without a request until the pods stop."
    )
    hold_seconds: int = Field(
        default=60,
        ge=0,
        le=3600,
        description="How long a request waits for pods before it is answered 503 with Retry-After; 0: none waits.",
    )
    max_held_requests: int = Field(
        default=512,
        ge=1,
        le=MAX_HELD,
        description="Requests that wait at once in each replica of the gateway; the next one is answered 503. Up to "
        "128 KiB of each are kept in memory.",
    )
    gateway_replicas: int = Field(default=1, ge=1, le=10, description="Pods of the gateway.")


class DisruptionBudget(Part):
    """What drains of nodes must leave standing. A rollout has its own limits."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [
                rule(
                    "has(self.minAvailable) != has(self.maxUnavailable)",
                    "set minAvailable or maxUnavailable, one of them: such as maxUnavailable: 1",
                )
            ]
        }
    )

    min_available: Annotated[CountOrPercent | None, Field(description="Pods that must stay.")] = None
    max_unavailable: Annotated[CountOrPercent | None, Field(description="Pods that may be missing.")] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "DisruptionBudget":
        if (self.min_available is None) == (self.max_unavailable is None):
            raise ValueError("set minAvailable or maxUnavailable, one of them: such as maxUnavailable: 1")
        return self
