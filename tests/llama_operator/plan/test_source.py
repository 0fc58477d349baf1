"""Models that do not come from the Hub: a volume or an image, mounted read only, and no cache."""

from typing import Any

import pytest

from llama_operator import names
from llama_operator.errors import SpecError
from llama_operator.plan.observed import Plan
from tests.support.operator_objects import REPO, a_body, a_spec, observed, plan, pod_spec

CLAIM: dict[str, Any] = {"repo": REPO, "source": "pvc", "claim": {"name": "weights", "path": "llama/70b"}}
IMAGE: dict[str, Any] = {"repo": REPO, "source": "oci", "image": {"reference": "registry/llama@sha256:" + "a" * 64}}


def env(pod: Any) -> dict[str, str]:
    """The server's environment."""
    return {row["name"]: row["value"] for row in pod["containers"][0]["env"]}


@pytest.mark.parametrize(
    ("model", "volume", "folder"),
    [
        (
            CLAIM,
            {"persistentVolumeClaim": {"claimName": "weights", "readOnly": True}},
            "/var/lib/llama/model/llama/70b",
        ),
        (
            IMAGE,
            {"image": {"reference": "registry/llama@sha256:" + "a" * 64, "pullPolicy": "IfNotPresent"}},
            "/var/lib/llama/model",
        ),
    ],
    ids=["pvc", "oci"],
)
def test_it_is_mounted_read_only_and_the_server_is_told_where(
    model: dict[str, Any], volume: dict[str, Any], folder: str
) -> None:
    """No Hub, no token, no cache."""
    pod = pod_spec(model=model)
    assert {"name": "model", **volume} in pod["volumes"]
    assert {row["name"] for row in pod["volumes"]} == {"model", "tmp", "shm"}
    mount = next(row for row in pod["containers"][0]["volumeMounts"] if row["name"] == "model")
    assert mount == {"name": "model", "mountPath": names.MODEL_DIR, "readOnly": True}
    assert env(pod)["LLAMA_INFERENCE_MODEL_DIR"] == folder
    unset = {"LLAMA_INFERENCE_CACHE_DIR", "LLAMA_INFERENCE_TOKEN_FILE", "LLAMA_INFERENCE_ENDPOINT"}
    assert not unset & env(pod).keys()
    planned: Plan = plan(observed(body=a_body(model=model)))
    assert [obj["kind"] for obj in planned.apply if obj["kind"] == "PersistentVolumeClaim"] == []
    assert planned.cache is None


@pytest.mark.parametrize(
    "model",
    [
        {"repo": REPO, "source": "pvc"},
        {"repo": REPO, "source": "oci", "claim": {"name": "weights"}},
        {"repo": REPO, "claim": {"name": "weights"}},
        {"repo": REPO, "source": "pvc", "claim": {"name": "weights", "path": "../up"}},
    ],
)
def test_a_source_without_its_place_is_refused(model: dict[str, Any]) -> None:
    """With what it needs."""
    with pytest.raises(SpecError, match=r"needs|write a folder"):
        a_spec(model=model)
