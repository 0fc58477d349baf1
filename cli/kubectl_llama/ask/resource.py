"""Flags, or a file → a LlamaDeployment. Pure: what is wrong is said before anything is asked of a cluster."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import yaml

from kubectl_llama.errors import RefusedError, UsageError
from llama_operator import names
from llama_operator.errors import SpecError
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.spec.parse import parse

Object = Mapping[str, Any]
_NAME: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_GPU: Final = re.compile(r"(?:(?P<product>[A-Za-z][A-Za-z0-9._-]*)(?::(?P<of>\d+))?|(?P<count>\d+))")
_SECRET: Final = re.compile(
    r"(?:hf_access_token=)?(?P<name>[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(?:/(?P<key>[A-Za-z0-9._-]+))?"
)


class _Loader(yaml.SafeLoader):
    """Reads YAML as Kubernetes does: a date is the text that was written."""


_Loader.yaml_implicit_resolvers = {
    first: [row for row in rows if row[0] != "tag:yaml.org,2002:timestamp"]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def label(text: str) -> str:
    """Return a name for a Service made of whatever somebody called it: lower case, hyphens, at most 63 characters."""
    words = re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")
    return (words if words[:1].isalpha() else f"m-{words}")[:63].strip("-")


def of_model(
    repo: str,
    *,
    name: str | None = None,
    revision: str | None = None,
    gpu: str | None = None,
    secret: str | None = None,
    sets: Sequence[str] = (),
) -> Object:
    """Return the LlamaDeployment of a model of the Hub.

    Raises:
        UsageError: if a flag does not say what is meant.
    """
    model: dict[str, Any] = {"repo": repo}
    if revision:
        model["revision"] = revision
    if secret:
        model["tokenSecretRef"] = token(secret)
    spec: dict[str, Any] = {"model": model}
    if gpu is not None:
        spec["resources"] = {"gpu": gpus(gpu)}
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": named(name or label(repo.rpartition("/")[2]))},
        "spec": spec,
    }
    return changed(body, sets)


def named(name: str) -> str:
    """Return a name that a Service may have.

    Raises:
        UsageError: if it is none.
    """
    if not _NAME.fullmatch(name):
        fix = f"write lower-case letters, digits and hyphens, such as --name {label(name)}"
        raise UsageError(f"--name is {name!r}, which no Service can have", fix=fix, field="--name")
    return name


def gpus(text: str) -> Object:
    """Return spec.resources.gpu of `A100:2`, `A100`, `2` or `0`.

    Raises:
        UsageError: if it is none of these.
    """
    found = _GPU.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--gpu is {text!r}", fix="write PRODUCT:COUNT such as A100:2, a count, or 0 for CPUs", field="--gpu"
        )
    if found["count"] is not None:
        return {"count": int(found["count"])}
    return {"product": found["product"], "count": int(found["of"] or 1)}


def token(text: str) -> Object:
    """Return spec.model.tokenSecretRef of `SECRET` or `SECRET/KEY`.

    Raises:
        UsageError: if it is neither.
    """
    found = _SECRET.fullmatch(text)
    if found is None:
        # Not repeated: whoever mixes the two up has written the token itself.
        raise UsageError(
            "--secret does not name a Secret",
            fix="write SECRET or SECRET/KEY: the name of a Secret of the namespace, never its content",
            field="--secret",
        )
    return {"name": found["name"], **({"key": found["key"]} if found["key"] else {})}


def of_file(text: str, where: str, *, name: str | None = None, sets: Sequence[str] = ()) -> Object:
    """Return the LlamaDeployment that a file holds.

    Raises:
        UsageError: if it holds none, or several.
    """
    try:
        rows = [row for row in yaml.load_all(text, _Loader) if row is not None]
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is not YAML: {error}", field="--filename") from None
    kinds = [(row.get("apiVersion"), row.get("kind")) if isinstance(row, dict) else (None, None) for row in rows]
    if kinds != [(names.API_VERSION, names.KIND)]:
        found = ", ".join(str(kind or "something without a kind") for _, kind in kinds) or "nothing"
        fix = f"give a file with one {names.KIND} of {names.API_VERSION}; kubectl apply takes the others"
        raise UsageError(f"{where} holds {found}", fix=fix, field="--filename")
    body = cast("dict[str, Any]", rows[0])
    for field in ("metadata", "spec"):
        if not isinstance(body.get(field) or {}, dict):
            raise UsageError(f"{where} has a {field} that is no object", fix=f"write fields below {field}", field=field)
    try:
        json.dumps(body)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where} holds what no object of Kubernetes can: {error}", field="--filename") from None
    metadata = {**(body.get("metadata") or {}), **({"name": name} if name else {})}
    if not metadata.get("name"):
        raise UsageError(f"{where} has no metadata.name", fix="give --name", field="metadata.name")
    named(str(metadata["name"]))
    return changed({**body, "metadata": metadata}, sets)


def changed(body: Object, sets: Sequence[str]) -> Object:
    """Return `body` with each `path=value` set in its spec; a value is read as YAML.

    Raises:
        UsageError: if one is no such thing.
    """
    spec = cast("dict[str, Any]", _copied(body.get("spec") or {}))
    for row in sets:
        path, equals, value = row.partition("=")
        steps = path.removeprefix("spec.").split(".")
        if not equals or not all(steps):
            raise UsageError(f"--set is {row!r}", fix="write path=value, such as --set replicas=2", field="--set")
        _set(spec, steps, _value(row, value), row)
    return {**body, "spec": spec}


def _value(row: str, text: str) -> object:
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a safe one)
    except yaml.YAMLError:
        raise UsageError(f"--set is {row!r}, whose value is not YAML", field="--set") from None


def _set(spec: dict[str, Any], steps: Sequence[str], value: object, row: str) -> None:
    here = spec
    for step in steps[:-1]:
        there = here.setdefault(step, {})
        if not isinstance(there, dict):
            raise UsageError(f"--set is {row!r}, and {step} is no object", field="--set")
        here = cast("dict[str, Any]", there)
    here[steps[-1]] = value


def _copied(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _copied(row) for key, row in cast("Mapping[str, object]", value).items()}
    return value


def placed(body: Object, namespace: str) -> Object:
    """Return `body` in the namespace that counts.

    Raises:
        UsageError: if it says another one itself.
    """
    written = body["metadata"].get("namespace")
    if written not in (None, namespace):
        raise UsageError(
            f"the file says namespace {written}, the command line {namespace}",
            fix=f"give -n {written}",
            field="--namespace",
        )
    return {**body, "metadata": {**body["metadata"], "namespace": namespace}}


def checked(body: Object) -> LlamaDeploymentSpec:
    """Return the typed spec.

    Raises:
        RefusedError: with the field, and the nearest one where it is unknown.
    """
    try:
        return parse(body)
    except SpecError as error:
        near = _nearest(error.field) if "Extra inputs" in str(error) else ""
        what = f"{error.field}: there is no such field" if "Extra inputs" in str(error) else str(error)
        raise RefusedError(what, field=error.field, fix=near, code="InvalidSpec") from None


def _nearest(field: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415

    known = list(_fields(LlamaDeploymentSpec.model_json_schema(by_alias=True)))
    found = get_close_matches(field, known, 1, 0.5)
    return f"did you mean {found[0]}?" if found else "docs/llamadeployment.md lists them"


def _fields(schema: Object) -> Iterator[str]:
    definitions = schema.get("$defs", {})

    def below(node: Object, path: str) -> Iterator[str]:
        for name, row in (node.get("properties") or {}).items():
            yield f"{path}.{name}"
            for choice in (row, *row.get("anyOf", ()), *row.get("allOf", ())):
                if "$ref" in choice:
                    yield from below(definitions[choice["$ref"].rpartition("/")[2]], f"{path}.{name}")

    return below(schema, "spec")
