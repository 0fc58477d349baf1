"""The command line: `run` is the operator, `gateway` stands for a model that may sleep.

`crd` and `render` need no cluster.

Exit codes: 0 after SIGTERM, 1 when the operator cannot go on, 2 when what it was given cannot be used.
"""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, TextIO, TypeVar, cast

import click
import yaml
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from llama_operator import names
from llama_operator.errors import LlamaOperatorError, SpecError
from llama_operator.gateway import process as gateway_process
from llama_operator.gateway.settings import PREFIX as GATEWAY_PREFIX
from llama_operator.gateway.settings import Settings as GatewaySettings
from llama_operator.handlers import logs, process
from llama_operator.handlers.reconcile import plan_settings
from llama_operator.plan import revisions
from llama_operator.plan.build import build_plan
from llama_operator.plan.observed import Key, Object, Observed
from llama_operator.settings import PREFIX, Settings
from llama_operator.spec.crd import crd as definition
from llama_operator.spec.parse import parse

UNUSABLE = 2
S = TypeVar("S", bound=BaseSettings)


@click.group()
@click.version_option(package_name="llama-operator")
def main() -> None:
    """Serve Llama models on Kubernetes from LlamaDeployment resources."""


@main.command()
def run() -> None:
    """Run the operator; settings come from LLAMA_OPERATOR_* variables."""
    settings = _settings(Settings, PREFIX)
    logs.configure(settings.log_level, settings.log_format)
    try:
        asyncio.run(process.run(settings))
    except LlamaOperatorError as error:
        _fail(str(error), 1)


@main.command()
def gateway() -> None:
    """Answer for a model that may sleep; settings come from LLAMA_GATEWAY_* variables, which the operator writes."""
    settings = _settings(GatewaySettings, GATEWAY_PREFIX)
    logs.configure(settings.log_level, settings.log_format)
    try:
        asyncio.run(gateway_process.run(settings))
    except LlamaOperatorError as error:
        _fail(str(error), 1)


@main.command()
def crd() -> None:
    """Print the CustomResourceDefinition."""
    click.echo(_yaml([definition()]), nl=False)


@main.command()
@click.argument("manifest", type=click.File())
def render(manifest: TextIO) -> None:
    """Print the objects that the LlamaDeployments in MANIFEST would create, without a cluster."""
    settings = plan_settings(_settings(Settings, PREFIX))
    try:
        bodies = [body for body in yaml.safe_load_all(manifest) if body is not None]
    except yaml.YAMLError as error:
        _fail(f"{manifest.name} is not YAML: {error}", UNUSABLE)
    objects: list[Object] = []
    for body in bodies:
        key = _key(manifest.name, body)
        seen = Observed(key=key, body=_stored(body, key), now=datetime.now(UTC))
        try:
            desired = build_plan(parse(body), seen, settings).desired
            # Notes of rollouts are history: they have the time in them, and are no part of what is asked for.
            objects += map(_unowned, (obj for obj in desired if obj["kind"] != revisions.KIND))
        except SpecError as error:
            _fail(f"{manifest.name}: {key.name}: {error}", UNUSABLE)
    click.echo(_yaml(objects), nl=False)


def _settings(kind: type[S], prefix: str) -> S:
    try:
        return kind()
    except ValidationError as error:
        _fail("; ".join(_problems(error, prefix)), UNUSABLE)


def _problems(error: ValidationError, prefix: str) -> Iterator[str]:
    for row in error.errors(include_url=False, include_context=False):
        yield f"{prefix}{str(row['loc'][0]).upper()}: {row['msg'].removeprefix('Value error, ')}"


def _key(manifest: str, body: object) -> Key:
    fields = _mapping(body)
    if (fields.get("apiVersion"), fields.get("kind")) != (names.API_VERSION, names.KIND):
        _fail(f"{manifest} holds something other than a {names.KIND} of {names.API_VERSION}", UNUSABLE)
    metadata = _mapping(fields.get("metadata"))
    if not metadata.get("name"):
        _fail(f"{manifest} holds a {names.KIND} without metadata.name", UNUSABLE)
    return Key(str(metadata.get("namespace") or "default"), str(metadata["name"]))


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _stored(body: Mapping[str, Any], key: Key) -> Object:
    return {**body, "metadata": {**body["metadata"], "namespace": key.namespace, "uid": ""}}


def _unowned(obj: Object) -> Object:
    """Leave out what depends on the uid that the API server would give."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "ownerReferences"}
    kept = {k: v for k, v in metadata.pop("annotations", {}).items() if k != names.ANNOTATION_APPLIED}
    return {**obj, "metadata": {**metadata, **({"annotations": kept} if kept else {})}}


def _yaml(objects: list[Object]) -> str:
    return yaml.safe_dump_all(objects, sort_keys=False, width=120)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)
