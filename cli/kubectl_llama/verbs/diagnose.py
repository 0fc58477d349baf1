"""`diagnose`: why a deployment does not serve."""

import base64
import binascii
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import yaml

from kubectl_llama import options
from kubectl_llama.ask.target import is_ready
from kubectl_llama.edge import terminal
from kubectl_llama.edge.kinds import CLAIM, DEPLOYMENT, EVENT, JOB, NODE, POD, SECRET, SERVICE
from kubectl_llama.edge.kube import Object
from kubectl_llama.errors import CliError, ClusterError
from kubectl_llama.view import lines
from kubectl_llama.view.diagnosis import Diagnosis, Facts, diagnose
from kubectl_llama.view.lines import Entry
from kubectl_llama.view.redaction import Redactor
from llama_operator import names
from llama_packages import secrets

_LINES: Final = "200"
T = TypeVar("T")


@click.command()
@options.name_argument(required=False)
@click.option("--bundle", metavar="FILE", type=click.Path(dir_okay=False), help="Write all of it to this tar.gz.")
@options.output_flag("json", "yaml")
@options.kubectl_flags
def command(name: str | None, *, bundle: str | None) -> None:
    """Say why a deployment does not serve, and what to do.

    One cause and one fix first; the evidence below: conditions, pods, events, nodes, the last words of the servers.
    --bundle writes an archive for support that holds no Secret, and nothing that stands in one.
    """
    name = name or options.the_only_name()
    body = options.deployment(name)
    pods = _all_pods(name)
    logs = {source: [*_log(source)] for pod in pods for source in _sources(pod)}
    facts = Facts(
        body=body,
        pods=pods,
        events=_events(name, [pod["metadata"]["name"] for pod in pods]),
        nodes=_if_allowed(lambda: options.cluster().list(NODE)),
        logs=[row for pod in pods if not is_ready(pod) for source in _sources(pod) for row in logs[source]],
    )
    found, redactor = diagnose(facts), Redactor(_known_secrets(body, pods))
    shown = redactor.value(found.as_json(body))
    if bundle:
        _write(Path(bundle), redactor, facts, found, logs)
        terminal.say(f"wrote {bundle}")
    if options.state().output:
        terminal.document(shown, options.state().output)
    else:
        terminal.result("\n".join(redactor.text(line) for line in found.lines()))


def _all_pods(name: str) -> list[Object]:
    """Return the pods that serve, and those in front of them and before them."""
    found = options.cluster().list(POD, options.namespace(), labels=f"{names.LABEL_DEPLOYMENT}={name}")
    return list(found)


def _events(name: str, pods: Sequence[str]) -> list[Object]:
    rows = _if_allowed(lambda: options.cluster().list(EVENT, options.namespace())) or ()
    about = {name, *pods}

    def concerns(row: Object) -> bool:
        of = str((row.get("involvedObject") or {}).get("name", ""))
        return of in about or of.startswith(f"{name}-")

    return [row for row in rows if concerns(row)]


def _if_allowed(reading: Callable[[], T]) -> T | None:
    try:
        return reading()
    except ClusterError as error:
        if error.code != "Forbidden":
            raise
        return None


def _sources(pod: Object) -> Iterator[tuple[str, str, bool]]:
    """Yield pod, container, and whether it is what ran before, for each that may have said something."""
    status = pod.get("status") or {}
    rows = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for row in rows:
        yield pod["metadata"]["name"], row["name"], False
        if row.get("restartCount"):
            yield pod["metadata"]["name"], row["name"], True


def _log(source: tuple[str, str, bool]) -> Iterator[Entry]:
    pod, container, previous = source
    query = {"container": container, "timestamps": "true", "tailLines": _LINES}
    query |= {"previous": "true"} if previous else {}
    try:
        for line in options.cluster().log(options.namespace(), pod, **query):
            yield lines.read(line, pod)
    except CliError:  # it has not started, or is gone: nothing was said
        return


def _known_secrets(body: Object, pods: Sequence[Object]) -> Iterator[str]:
    """Yield the values of the Secrets that the deployment uses, for nothing but to be looked for and taken out."""
    spec: Object = body.get("spec") or {}
    used = {names.DEFAULT_TOKEN_SECRET, secrets.OTHERS, names.api_keys(body["metadata"]["name"])}
    used |= {secret for node in (spec, *(pod["spec"] for pod in pods)) for secret in _secrets_of(node)}
    for name in sorted(used - {""}):
        secret = _if_allowed(lambda name=name: options.cluster().get(SECRET, name, options.namespace())) or {}
        for value in (secret.get("data") or {}).values():
            try:
                text = base64.b64decode(value).decode()
            except (binascii.Error, UnicodeDecodeError):
                continue
            yield text
            yield from _logins(text)


def _logins(text: str) -> Iterator[str]:
    """Yield what stands in the logins of a registry, each by itself."""
    try:
        auths: Mapping[str, Mapping[str, Any]] = json.loads(text)["auths"]
        yield from (str(row[key]) for row in auths.values() for key in ("password", "auth") if row.get(key))
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # it is something else


def _secrets_of(node: object) -> Iterator[str]:
    """Yield every name of a Secret in a spec, wherever it stands."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name == "secretName" and isinstance(value, str):
                yield value
            elif name == "imagePullSecrets" and isinstance(value, list):
                yield from (str(row.get("name") or "") for row in value if isinstance(row, Mapping))
            elif name == "secret" and isinstance(value, Mapping):
                yield str(value.get("secretName") or value.get("name") or "")
            elif name in ("secretKeyRef", "secretRef", "tokenSecretRef") and isinstance(value, Mapping):
                yield str(value.get("name") or "")
            else:
                yield from _secrets_of(value)
    elif isinstance(node, list):
        for row in node:
            yield from _secrets_of(row)


def _write(
    path: Path,
    redactor: Redactor,
    facts: Facts,
    found: Diagnosis,
    logs: Mapping[tuple[str, str, bool], Sequence[Entry]],
) -> None:
    name, place = facts.body["metadata"]["name"], options.namespace()
    around = {kind.plural: _if_allowed(lambda kind=kind: _labelled(kind, name, place)) for kind in _AROUND}
    files = {
        "diagnosis.txt": "\n".join(map(redactor.text, found.lines())) + "\n",
        "diagnosis.json": json.dumps(redactor.value(found.as_json(facts.body)), indent=2),
        "deployment.yaml": _yaml(redactor.value(facts.body)),
        "pods.yaml": _yaml(redactor.value(list(facts.pods))),
        "events.yaml": _yaml(redactor.value(list(facts.events))),
        "nodes.yaml": _yaml(redactor.value([_node(row) for row in facts.nodes or ()])),
        **{f"{plural}.yaml": _yaml(redactor.value(list(rows))) for plural, rows in around.items() if rows},
    }
    for (pod, container, previous), entries in logs.items():
        said = "\n".join(json.dumps(redactor.value(row.as_json()), default=str) for row in entries)
        files[f"logs/{pod}.{container}{'.previous' if previous else ''}.jsonl"] = f"{said}\n"
    try:
        with tarfile.open(path, "w:gz") as archive:
            for file, text in files.items():
                row = tarfile.TarInfo(f"{name}/{file}")
                row.size, row.mode = len(text.encode()), 0o600
                archive.addfile(row, io.BytesIO(text.encode()))
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}", field="--bundle") from None


_AROUND: Final = (DEPLOYMENT, SERVICE, CLAIM, JOB)


def _labelled(kind: Any, name: str, place: str) -> Sequence[Object]:  # noqa: ANN401  (a Kind)
    return options.cluster().list(kind, place, labels=f"{names.LABEL_DEPLOYMENT}={name}")


def _node(node: Object) -> dict[str, Any]:
    """Return of a node what decides whether pods fit."""
    status = node.get("status") or {}
    kept = {key: status.get(key) for key in ("allocatable", "capacity", "conditions", "nodeInfo")}
    metadata = {key: node["metadata"].get(key) for key in ("name", "labels")}
    return {"metadata": metadata, "spec": {"taints": (node.get("spec") or {}).get("taints")}, "status": kept}


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=200, allow_unicode=True)
