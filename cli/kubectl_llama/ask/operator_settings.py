"""What the operator that runs would put into objects: from the environment of its Deployment. Pure."""

import json
from collections.abc import Mapping
from typing import Any, Final

from llama_operator.plan.settings import PackageSettings, PlanSettings
from llama_packages.check import PYTHONS

Object = Mapping[str, Any]
_PREFIX: Final = "LLAMA_OPERATOR_"


def read_settings(deployment: Object | None) -> PlanSettings:
    """Return its settings; the defaults where it may not be read."""
    containers = deployment["spec"]["template"]["spec"]["containers"] if deployment else ()
    rows = [row for container in containers for row in container.get("env") or ()]
    env = {row["name"].removeprefix(_PREFIX): row.get("value", "") for row in rows if row["name"].startswith(_PREFIX)}
    return PlanSettings(
        inference_image=env.get("INFERENCE_IMAGE") or "llama-operator/llama-inference",
        gateway_image=env.get("GATEWAY_IMAGE") or "llama-operator/llama-operator",
        gateway_enabled=env.get("GATEWAY_ENABLED", "true").lower() != "false",
        hub_endpoint=env.get("HUB_ENDPOINT") or None,
        nodes_on_demand=env.get("NODES_ON_DEMAND", "").lower() == "true",
        packages=PackageSettings(
            builder_image=env.get("PACKAGE_BUILDER_IMAGE") or "llama-operator/package-builder",
            images=_images(env.get("PACKAGE_IMAGES", "")),
            index_url=env.get("PACKAGE_INDEX_URL") or None,
            wheelhouse_claim=env.get("PACKAGE_WHEELHOUSE_CLAIM") or None,
        ),
        namespace=(deployment or {}).get("metadata", {}).get("namespace", "default"),
    )


def _images(written: str) -> Mapping[str, str]:
    """Return the image of each Python; the chart's where the operator's may not be read."""
    try:
        found = json.loads(written)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {python: f"python:{python}-slim" for python in PYTHONS}
