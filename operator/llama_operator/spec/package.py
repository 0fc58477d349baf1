"""A Truss package to serve in place of a model: where it lies, which Python it runs on, where its secrets come from."""

from typing import Annotated, Final

from pydantic import ConfigDict, Field, StrictBool, model_validator

from llama_operator.spec.part import Part
from llama_operator.spec.source import Path
from llama_operator.spec.values import RULES, Endpoint, Form, ObjectName, SecretKey, rule

Digest = Annotated[str, Form("[0-9a-f]{64}", "write a SHA-256 in hexadecimal, as sha256sum package.tgz prints it", 64)]
PackageImage = Annotated[
    str,
    Form(
        r"[A-Za-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}",
        "write the image with its digest, such as registry.example/chat@sha256:…",
        512,
    ),
]
Python = Annotated[str, Form(r"3\.(9|1[0-4])", 'write a Python from 3.9 to 3.14 in quotes, such as "3.11"', 4)]
SecretName = Annotated[str, Form("[A-Za-z0-9._-]{1,253}", "write the name under secrets of config.yaml", 253)]

_SOURCE: Final = (
    "name a configMap with the package (kubectl create configmap NAME --from-file=package.tgz), beside a claim with "
    "its config.yaml, or an image that has it"
)
_ONE: Final = "claim and image exclude each other: the files come from one place"
_DIGEST: Final = (
    "claim needs digest: nobody else can tell that the files on the volume have changed, and pods have to be replaced"
)


class PackageClaim(Part):
    """A volume with the package's folder."""

    name: ObjectName = Field(description="PersistentVolumeClaim in the namespace of the LlamaDeployment; read only.")
    path: Path = Field(default="", description="Folder in the volume with config.yaml; unset: its root.")


class PackageSecret(Part):
    """Where one of the package's secrets comes from."""

    name: SecretName = Field(description="Name under secrets of config.yaml.")
    secret_name: ObjectName = Field(description="Secret in the namespace of the LlamaDeployment.")
    key: SecretKey | None = Field(default=None, description="Key in the Secret; unset: the name.")


class Package(Part):
    """A Truss package."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [
                rule("has(self.configMap) || has(self.image)", _SOURCE, path=".configMap"),
                rule("!has(self.claim) || !has(self.image)", _ONE, path=".claim"),
                rule("!has(self.claim) || has(self.digest)", _DIGEST, path=".digest"),
            ]
        }
    )

    config_map: ObjectName | None = Field(
        default=None,
        description="ConfigMap with the package: binaryData package.tgz, a gzipped tar with config.yaml at its root. "
        "Beside claim or image: data config.yaml alone. With the label llama-operator.dev/deployment of this name it "
        "is kept while a rollout that could be gone back to has it, and then deleted; without, it is never touched.",
    )
    claim: PackageClaim | None = Field(
        default=None, description="Volume with the package's folder, for one that no ConfigMap holds."
    )
    image: PackageImage | None = Field(
        default=None,
        description="Image that was built from the context that truss makes of the package; its server is run.",
    )
    digest: Digest | None = Field(
        default=None,
        description="SHA-256 of package.tgz. Set, another content is refused; with claim it says which content is "
        "meant, and a changed one replaces the pods.",
    )
    python: Python | None = Field(
        default=None, description="Python that it runs on; unset: python_version of config.yaml, or else 3.13."
    )
    index_url: Endpoint | None = Field(
        default=None, description="Package index (PEP 503) for its requirements; unset: the operator's, else PyPI."
    )
    secrets: Annotated[tuple[PackageSecret, ...], Field(max_length=64)] = Field(
        default=(),
        description="Where secrets come from. Unset, hf_access_token is in Secret hf-access-token under that key, "
        "others in Secret package-secrets under their names.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    development: StrictBool = Field(
        default=False,
        description="Let code be changed while it runs, by whoever may forward ports of the pod; for one replica.",
    )

    @model_validator(mode="after")
    def _has_its_source(self) -> "Package":
        if self.config_map is None and self.image is None:
            raise ValueError(_SOURCE)
        if self.claim is not None and self.image is not None:
            raise ValueError(_ONE)
        if self.claim is not None and self.digest is None:
            raise ValueError(_DIGEST)
        return self
