"""The volume that keeps the model: of one LlamaDeployment, or shared by all that serve the same commit."""

from typing import Literal

from pydantic import ConfigDict, Field, StrictBool

from llama_operator.spec.part import Part
from llama_operator.spec.values import RULES, ObjectName, Quantity, rule

_SHRUNK = (
    "has(oldSelf.size) && has(self.size) && quantity(string(self.size)).isLessThan(quantity(string(oldSelf.size)))"
)


class Cache(Part):
    """The volume that keeps the model between restarts."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [
                rule(
                    f"!({_SHRUNK})",
                    "size cannot shrink: a volume only grows",
                    shown='"size cannot shrink from " + string(oldSelf.size) + " to " + string(self.size) + '
                    '": a volume only grows; keep it, or create a LlamaDeployment of another name"',
                    path=".size",
                ),
                rule(
                    "has(self.storageClassName) == has(oldSelf.storageClassName) && "
                    "(!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
                    "storageClassName cannot change: a volume keeps its class; create a LlamaDeployment of another "
                    "name",
                ),
                rule(
                    "self.accessMode == oldSelf.accessMode",
                    "accessMode cannot change: a volume keeps its mode; create a LlamaDeployment of another name",
                    path=".accessMode",
                ),
                rule(
                    "self.shared == oldSelf.shared",
                    "shared cannot change, for the pods that run need their volume; create a LlamaDeployment of "
                    "another name",
                    path=".shared",
                ),
            ]
        }
    )

    storage_class_name: ObjectName | None = Field(
        default=None, description="Storage class; unset: the cluster's default."
    )
    size: Quantity | None = Field(
        default=None,
        description="Size of the volume. Unset: room for two revisions of the model, for one if shared, by its files "
        "or else its name, when the volume is created. It only grows.",
    )
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"] = Field(
        default="ReadWriteOnce", description="Access mode. Replicas on more than one node need ReadWriteMany."
    )
    shared: StrictBool = Field(
        default=False,
        description="One volume for every LlamaDeployment of the namespace that shares repo and commit, filled once by "
        "a Job before any GPU is claimed, and read only for pods. It goes with the last of them.",
    )
    retain: StrictBool = Field(
        default=False,
        description="Keep the volume when the LlamaDeployment is deleted; the next one of the same name, or "
        "with shared of the same model, takes it up.",
    )
