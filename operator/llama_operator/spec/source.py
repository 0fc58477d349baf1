"""Which model, and where its files come from: the Hub or a mirror of it, a volume, an image."""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, model_validator

from llama_operator.names import DEFAULT_TOKEN_KEY
from llama_operator.spec.part import Part
from llama_operator.spec.values import RULES, Endpoint, Form, Image, ObjectName, Repo, Revision, SecretKey, rule

Path = Annotated[
    str,
    Form(
        r"([A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*)?",
        "write a folder without a slash at its begin or end, such as models/llama",
        512,
    ),
]
PACKAGE: Final = "package"
"""The source of what is no model; nobody can write it."""
_PVC: Final = "source pvc needs claim, the PersistentVolumeClaim with the model, and only that source takes it"
_OCI: Final = "source oci needs image, the image with the model, and only that source takes it"


class SecretKeyRef(Part):
    """One key of a Secret in the namespace of the LlamaDeployment."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: SecretKey = Field(default=DEFAULT_TOKEN_KEY, description="Key in the Secret whose value is the token.")


class ModelClaim(Part):
    """A volume that holds the model already."""

    name: ObjectName = Field(description="PersistentVolumeClaim in the namespace of the LlamaDeployment; read only.")
    path: Path = Field(default="", description="Folder in the volume with config.json; unset: its root.")


class ModelImage(Part):
    """An image, or another OCI artifact, whose files are the model; nodes need image volumes (Kubernetes 1.35)."""

    reference: Image = Field(description="The image; it is mounted, and nothing in it is run.")
    path: Path = Field(default="", description="Folder in the image with config.json; unset: its root.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When nodes pull it."
    )


class ModelSource(Part):
    """Which model, and where it comes from."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [
                rule("(self.source == 'pvc') == has(self.claim)", _PVC, path=".claim"),
                rule("(self.source == 'oci') == has(self.image)", _OCI, path=".image"),
                rule(
                    "self.source == oldSelf.source",
                    "source cannot change, for the pods that run need theirs; create a LlamaDeployment of another name",
                    path=".source",
                ),
            ]
        }
    )

    repo: Repo = Field(
        description="Hub repository, such as meta-llama/Llama-2-70b-chat-hf; from another source, the model's name."
    )
    revision: Revision = Field(default="main", description="Branch, tag or commit.")
    source: Literal["hub", "pvc", "oci"] = Field(
        default="hub",
        description="Where the files come from. hub: the Hub, or the mirror in endpoint; pvc: the volume in claim; "
        "oci: the image in image. Without hub nothing is asked of any Hub.",
    )
    claim: ModelClaim | None = Field(default=None, description="With source pvc: the volume that holds the model.")
    image: ModelImage | None = Field(default=None, description="With source oci: the image that holds the model.")
    token_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Secret with the Hub token; it must exist. Unset: Secret hf-access-token, key hf_access_token, "
        "if there is one.",
    )
    endpoint: Endpoint | None = Field(
        default=None, description="Hub endpoint; unset: the operator's, else the public Hub."
    )

    @property
    def is_none(self) -> bool:
        """Whether this stands for no model."""
        return str(self.source) == PACKAGE

    @classmethod
    def none(cls, repo: str = "package", revision: str = "") -> "ModelSource":
        """Return what stands for the model where a package is served: no Hub, no volume and no image has it."""
        return cls.model_construct(repo=repo, revision=revision, source=PACKAGE)

    @model_validator(mode="after")
    def _has_its_source(self) -> "ModelSource":
        if (self.source == "pvc") != (self.claim is not None):
            raise ValueError(_PVC)
        if (self.source == "oci") != (self.image is not None):
            raise ValueError(_OCI)
        return self
