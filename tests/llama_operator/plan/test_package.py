"""What a plan makes of a package: its environment first, then pods with two containers, and whose ConfigMaps go."""

from dataclasses import replace
from typing import Any

import pytest

from llama_operator import names
from llama_operator.errors import PackageError
from llama_operator.plan import package
from llama_operator.plan.build import build_plan
from llama_operator.plan.history import Rollout
from llama_operator.plan.observed import Object, Observed, Plan, Ref
from llama_operator.plan.revisions import read
from llama_operator.spec.parse import parse
from llama_packages import archive
from tests.support.operator_objects import KEY, SETTINGS, a_body, observed
from tests.support.packages import PACKAGES, config_map, packed

SETTINGS_HERE = replace(SETTINGS, packages=PACKAGES)
GPU = {"gpu": {"count": 2}}


def a_package_body(**fields: Any) -> dict[str, Any]:
    """A raw LlamaDeployment of a package; keyword arguments are fields of spec.package, or of the spec."""
    inside = {
        name: fields.pop(name)
        for name in ("configMap", "claim", "image", "digest", "python", "indexUrl", "secrets", "development")
        if name in fields
    }
    body = a_body(**fields)
    del body["spec"]["model"]
    body["spec"]["package"] = {"configMap": "chat", **inside}
    return body


def seen_with(*children: Object, **fields: Any) -> Observed:
    """What was seen of a package: its ConfigMap and these objects."""
    return observed(body=a_package_body(**fields), children=children or (config_map(),))


def planned(seen: Observed, rollout: Rollout | None = None) -> Plan:
    """The plan for a package."""
    spec = package.resolve(parse(seen.body), seen, PACKAGES)
    return build_plan(spec, seen, SETTINGS_HERE, None, rollout)


def of_kind(plan: Plan, kind: str) -> dict[str, Any]:
    """The one desired object of a kind."""
    (found,) = [obj for obj in plan.desired if obj["kind"] == kind]
    return dict(found)


def bound(seen: Observed) -> Observed:
    """The same once the environment's volume is there."""
    claim = of_kind(planned(seen), "PersistentVolumeClaim")
    return replace(
        seen, children={**seen.children, Ref("v1", "PersistentVolumeClaim", claim["metadata"]["name"]): claim}
    )


def made(seen: Observed) -> Observed:
    """The same once the Job has made the environment."""
    there = bound(seen)
    job = of_kind(planned(there), "Job")
    done = {**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    return replace(there, children={**there.children, Ref("batch/v1", "Job", job["metadata"]["name"]): done})


def applied(plan: Plan) -> set[str]:
    """The kinds that a plan applies."""
    return {obj["kind"] for obj in plan.apply}


def containers(plan: Plan) -> dict[str, Any]:
    """The containers of the serving pods, by name."""
    pod = of_kind(plan, "Deployment")["spec"]["template"]["spec"]
    return {row["name"]: row for row in (*pod["initContainers"], *pod["containers"])}


def env(container: Object) -> dict[str, str]:
    """A container's environment."""
    return {row["name"]: row["value"] for row in container["env"]}


def test_a_volume_comes_first_then_the_job_then_pods() -> None:
    """No pod is made, and so no GPU claimed, before the environment is there."""
    seen = seen_with(resources=GPU)
    first, second, third = planned(seen), planned(bound(seen)), planned(made(seen))
    assert "PersistentVolumeClaim" in applied(first)
    assert not {"Job", "Deployment"} & applied(first)
    assert "Job" in applied(second)
    assert "Deployment" not in applied(second)
    assert second.waits
    assert "Deployment" in applied(third)
    assert not third.waits


def test_the_job_has_no_gpu_no_token_and_a_read_only_root() -> None:
    """It runs under the restricted level, as the pods do."""
    pod = of_kind(planned(bound(seen_with(resources=GPU))), "Job")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for row in (*pod["initContainers"], *pod["containers"]):
        assert row["securityContext"]["readOnlyRootFilesystem"] is True
        assert row["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "nvidia.com/gpu" not in str(row["resources"])


def test_the_job_makes_the_environment_with_the_packages_own_python() -> None:
    """Else wheels would be those of another."""
    pod = of_kind(planned(bound(seen_with(python="3.13"))), "Job")["spec"]["template"]["spec"]
    (install,) = pod["containers"]
    assert pod["initContainers"][0]["image"] == "builder:1"
    assert install["image"] == "python:3.13"
    assert install["args"][:2] == ["/work", "/environment"]


def test_the_same_requirements_have_the_same_volume_whatever_the_package() -> None:
    """A second deployment downloads nothing."""
    one = of_kind(
        planned(seen_with(config_map({"model_name": "one", "requirements": ["a==1"]}))), "PersistentVolumeClaim"
    )
    two = of_kind(
        planned(seen_with(config_map({"model_name": "two", "requirements": ["a==1"]}))), "PersistentVolumeClaim"
    )
    other = of_kind(planned(seen_with(config_map({"requirements": ["a==2"]}))), "PersistentVolumeClaim")
    assert one["metadata"]["name"] == two["metadata"]["name"] != other["metadata"]["name"]
    assert one["metadata"]["labels"][names.LABEL_DEPLOYMENT] == names.SHARED


@pytest.mark.parametrize(
    "fields", [{"python": "3.13"}, {"indexUrl": "https://mirror.example/simple"}], ids=["python", "index"]
)
def test_another_python_or_index_has_another_volume(fields: dict[str, Any]) -> None:
    """What is installed would be another."""
    plain = of_kind(planned(seen_with()), "PersistentVolumeClaim")["metadata"]["name"]
    assert of_kind(planned(seen_with(**fields)), "PersistentVolumeClaim")["metadata"]["name"] != plain


def test_a_requirements_file_counts_by_its_content() -> None:
    """The name alone says nothing."""
    seen = [
        seen_with(
            config_map(
                content=packed({"requirements_file": "./needs.txt"}, **{"needs.txt": text, "model/model.py": ""})
            ),
            python="3.11",
        )
        for text in ("a==1", "a==2")
    ]
    one, two = (of_kind(planned(row), "PersistentVolumeClaim")["metadata"]["name"] for row in seen)
    assert one != two


def test_the_package_has_the_gpus_and_the_server_stands_in_front() -> None:
    """As with TGI: GPUs go to what computes."""
    found = containers(planned(made(seen_with(resources=GPU))))
    assert list(found) == ["package-tools", "package", "inference"]
    assert found["package"]["restartPolicy"] == "Always"
    assert found["package"]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "nvidia.com/gpu" not in str(found["inference"]["resources"])
    assert "ports" not in found["package"], "nobody gets past the keys"


def test_server_and_package_agree_on_where_they_meet() -> None:
    """The socket is in a folder of the pod that both have."""
    found = containers(planned(made(seen_with())))
    digest = archive.digest(packed({"model_name": "chat", "python_version": "py311"}))
    server, beside = env(found["inference"]), env(found["package"])
    assert server["LLAMA_INFERENCE_BACKEND"] == "package"
    assert server["LLAMA_INFERENCE_PACKAGE_DIR"] == "/run/package"
    assert server["LLAMA_INFERENCE_MODEL"] == "chat"
    assert server["LLAMA_INFERENCE_REVISION"] == server["LLAMA_INFERENCE_PACKAGE_DIGEST"] == digest
    assert beside["LLAMA_PACKAGE_LAYOUT"] == f"/environment/packages/{digest}"
    assert beside["PYTHON_EXECUTABLE"] == "/environment/venv/bin/python"
    for row in ("inference", "package", "package-tools"):
        assert {"name": "package-run", "mountPath": "/run/package"} in found[row]["volumeMounts"]


def test_how_a_model_generates_is_nothing_to_a_package() -> None:
    """Neither its parameters nor where a model would lie."""
    told = env(containers(planned(made(seen_with())))["inference"])
    left = ("GENERATION_DEFAULTS", "DTYPE", "MODEL_DIR", "CACHE_DIR", "TOKEN_FILE", "ENDPOINT")
    assert not [name for name in left if f"LLAMA_INFERENCE_{name}" in told]


def test_config_yaml_sets_environment_and_concurrency() -> None:
    """As truss would."""
    config = {"environment_variables": {"COLOUR": "red"}, "runtime": {"predict_concurrency": 8}}
    found = containers(planned(made(seen_with(config_map(config)))))
    assert env(found["package"])["COLOUR"] == "red"
    assert env(found["inference"])["LLAMA_INFERENCE_PACKAGE_CONCURRENCY"] == "8"


def test_secrets_are_files_and_no_value_is_in_any_object() -> None:
    """Values in config.yaml are never used."""
    config = {"secrets": {"hf_access_token": "hf_real", "mine": None, "other": None}}
    seen = made(seen_with(config_map(config), secrets=[{"name": "mine", "secretName": "vault", "key": "k"}]))
    plan = planned(seen)
    volumes = of_kind(plan, "Deployment")["spec"]["template"]["spec"]["volumes"]
    (projected,) = [row["projected"]["sources"] for row in volumes if "projected" in row]
    assert [(row["secret"]["name"], *row["secret"]["items"]) for row in projected] == [
        ("hf-access-token", {"key": "hf_access_token", "path": "hf_access_token"}),
        ("vault", {"key": "k", "path": "mine"}),
        ("package-secrets", {"key": "other", "path": "other"}),
    ]
    assert "hf_real" not in str(plan.desired)


def test_an_image_that_was_built_needs_no_environment() -> None:
    """Neither volume nor Job, and its own files are left as they are."""
    image = f"registry.example/chat@sha256:{'a' * 64}"
    seen = observed(body=a_package_body(image=image))
    del seen.body["spec"]["package"]["configMap"]
    plan = planned(seen)
    beside = containers(plan)["package"]
    assert not {"PersistentVolumeClaim", "Job"} & {obj["kind"] for obj in plan.desired}
    assert "Deployment" in applied(plan)
    assert beside["image"] == image
    assert not {"/app", "/packages", "/environment"} & {row["mountPath"] for row in beside["volumeMounts"]}
    assert "PYTHON_EXECUTABLE" not in env(beside)


def test_a_base_image_is_the_image_of_the_container_and_of_the_job() -> None:
    """With its packages seen from the environment, and its own Python."""
    config = {"base_image": {"image": "cuda:12", "python_executable_path": "/opt/bin/python"}}
    plan = planned(made(seen_with(config_map(config))))
    job = of_kind(plan, "Job")["spec"]["template"]["spec"]["containers"][0]
    assert containers(plan)["package"]["image"] == job["image"] == "cuda:12"
    assert job["command"][0] == "/opt/bin/python"
    assert "--system-site-packages" in job["args"]


def test_another_content_is_another_rollout() -> None:
    """The digest is in the pod template."""
    plans = [planned(made(seen_with(config_map({"model_name": "chat", "description": text})))) for text in ("a", "b")]
    one, two = (of_kind(plan, "Deployment")["metadata"]["annotations"][names.ANNOTATION_TEMPLATE] for plan in plans)
    assert one != two


def test_a_mirror_and_a_wheelhouse_are_handed_to_the_job() -> None:
    """What the operator is told holds for every package that names no index."""
    settings = replace(PACKAGES, index_url="https://mirror.example/simple", wheelhouse_claim="wheels")
    seen = seen_with()
    spec = package.resolve(parse(seen.body), seen, settings)
    there = build_plan(spec, seen, replace(SETTINGS, packages=settings))
    claim = of_kind(there, "PersistentVolumeClaim")
    seen = replace(
        seen, children={**seen.children, Ref("v1", "PersistentVolumeClaim", claim["metadata"]["name"]): claim}
    )
    pod = of_kind(build_plan(spec, seen, replace(SETTINGS, packages=settings)), "Job")["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"][3:] == [
        "--index-url",
        "https://mirror.example/simple",
        "--find-links",
        "/wheelhouse",
    ]
    assert {"claimName": "wheels", "readOnly": True} in [row.get("persistentVolumeClaim") for row in pod["volumes"]]


def test_a_labelled_config_map_is_taken_over_and_another_never_touched() -> None:
    """The label says that it may go with the LlamaDeployment."""
    (taken,) = [obj for obj in planned(seen_with(config_map(of=KEY.name))).apply if obj["kind"] == "ConfigMap"]
    assert taken["metadata"]["ownerReferences"][0]["uid"] == observed().uid
    assert "binaryData" not in taken
    assert "ConfigMap" not in {obj["kind"] for obj in planned(seen_with()).desired}


def test_config_maps_of_rollouts_that_are_known_are_kept_and_others_go() -> None:
    """One may be gone back to as long as its package is there."""
    before = made(seen_with(config_map(of=KEY.name)))
    notes = {
        Ref("apps/v1", "ControllerRevision", obj["metadata"]["name"]): obj
        for obj in planned(before).desired
        if obj["kind"] == "ControllerRevision"
    }
    owner = [{"uid": before.uid, "kind": names.KIND, "name": KEY.name}]
    old, lost = (config_map(name=name, of=KEY.name) for name in ("chat", "lost"))
    for held in (old, lost):
        held["metadata"]["ownerReferences"] = owner
    new = config_map({"model_name": "new", "python_version": "py311"}, name="new", of=KEY.name)
    seen = seen_with(old, lost, new, configMap="new")
    seen = replace(seen, children={**seen.children, **notes})
    assert [ref.name for ref in planned(seen).prune if ref.kind == "ConfigMap"] == ["lost"]


def test_going_back_makes_the_environment_of_then() -> None:
    """Its volume may be gone, and its Job too."""
    before = made(seen_with(config_map({"requirements": ["a==1"], "python_version": "py311"})))
    first = planned(before)
    notes = {
        Ref("apps/v1", "ControllerRevision", obj["metadata"]["name"]): obj
        for obj in first.desired
        if obj["kind"] == "ControllerRevision"
    }
    old = config_map({"requirements": ["a==1"], "python_version": "py311"})
    seen = seen_with(old, config_map(name="new"), configMap="new", rollout={"rollbackTo": 1})
    seen = replace(seen, children={**seen.children, **notes})
    (row,) = read(seen)
    plan = planned(seen, Rollout(revisions=(row,), keep=row, why="RollbackTo"))
    assert plan.cache == first.cache
    assert plan.waits


@pytest.mark.parametrize(
    ("children", "fields", "reason", "words"),
    [
        ([config_map(name="other")], {}, "PackageNotFound", "kubectl create configmap chat"),
        ([config_map("a: [")], {}, "PackageInvalid", "no YAML at line"),
        ([config_map(content=b"no archive")], {}, "PackageInvalid", "tar -C FOLDER"),
        ([{**config_map(), "binaryData": {"x": ""}}], {}, "PackageInvalid", "its keys: x"),
        ([config_map()], {"digest": "0" * 64}, "PackageInvalid", "spec.package.digest"),
        ([config_map({"system_packages": ["ffmpeg"]})], {}, "PackageUnsupported", "system_packages"),
        ([config_map({"python_version": "py312"})], {}, "PackageUnsupported", "package.images"),
    ],
)
def test_what_cannot_be_served_is_told_before_anything_is_made(
    children: list[Object], fields: dict[str, Any], reason: str, words: str
) -> None:
    """With its reason, the field and what to do."""
    seen = seen_with(*children, **fields)
    with pytest.raises(PackageError, match=words) as told:
        package.resolve(parse(seen.body), seen, PACKAGES)
    assert told.value.reason == reason


@pytest.mark.parametrize("text", ["model_name: 2023-02-30", "secrets: !!bool x", "base_image: {image: 3}"])
def test_whatever_a_config_holds_is_a_condition(text: str) -> None:
    """Nothing but a PackageError leaves, neither while it is observed nor while it is planned."""
    held = {**config_map(), "data": {"config.yaml": text}}
    seen = seen_with(held, claim={"name": "files"}, digest="a" * 64)
    spec = parse(seen.body)
    assert spec.package is not None
    assert package.wanted_secrets(spec.package, held) == ()
    with pytest.raises(PackageError, match=r"config\.yaml"):
        package.resolve(spec, seen, PACKAGES)
