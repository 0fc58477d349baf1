"""`logs`: what the servers of a deployment say."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from queue import Queue
from threading import Thread
from typing import Any

import click

from kubectl_llama import options
from kubectl_llama.edge import terminal
from kubectl_llama.edge.kinds import POD
from kubectl_llama.edge.kube import Cluster, Object, seconds
from kubectl_llama.errors import CliError, NotFoundError, UsageError
from kubectl_llama.view import lines
from kubectl_llama.view.lines import Entry, Wanted
from llama_operator import names

SERVERS = (names.CONTAINER, "package")
"""Containers whose lines are the deployment's: our server, and the one of a package behind it."""


@click.command()
@options.name_argument(required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as more comes.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="The last N lines of each container.")
@click.option("--since", metavar="TIME", help="Not older than this, such as 5m.")
@click.option("--start", metavar="WHEN", help="From this point in time on, such as 2026-11-29T10:00:00Z.")
@click.option("--end", metavar="WHEN", help="Up to this point in time.")
@click.option("--min-level", type=click.Choice(lines.LEVELS), default="debug", help="This level and above.")
@click.option("--includes", multiple=True, metavar="TEXT", help="Only lines with this text; may be repeated.")
@click.option("--excludes", multiple=True, metavar="TEXT", help="No lines with this text; may be repeated.")
@click.option("--request-id", metavar="ID", help="Only lines about this request.")
@click.option("--replica", metavar="NAME", help="Only pods with this in their name.")
@click.option("--previous", is_flag=True, help="Of the containers that have ended before those that run.")
@options.output_flag("json")
@options.kubectl_flags
def command(**given: Any) -> None:  # noqa: ANN401  (click's own values)
    """Print what the servers of a deployment say: time, replica, level, message.

    Without NAME: the only one of the namespace.
    """
    name = given["name"] or options.the_only_name()
    wanted = Wanted(
        min_level=given["min_level"],
        includes=given["includes"],
        excludes=given["excludes"],
        request_id=given["request_id"],
        start=_when(given["start"], "--start"),
        end=_when(given["end"], "--end"),
    )
    query = _query(given)
    sources = list(_sources(name, given["replica"]))
    read = _followed if given["follow"] else _gathered
    for entry in read(options.cluster(), sources, query):
        if wanted.takes(entry):
            _print(entry)


def follow(name: str) -> None:
    """Print what comes from now on."""
    for entry in _followed(options.cluster(), list(_sources(name, None)), {"follow": "true", "tailLines": "10"}):
        _print(entry)


def _print(entry: Entry) -> None:
    as_json = options.state().output == "json"
    terminal.result(json.dumps(entry.as_json(), default=str) if as_json else entry.text())


def _query(given: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    if given["follow"]:
        found["follow"] = "true"
    if given["tail"] is not None:
        found["tailLines"] = str(given["tail"])
    if given["previous"]:
        found["previous"] = "true"
    if given["since"]:
        found["sinceSeconds"] = str(max(1, round(seconds(given["since"], "--since"))))
    elif given["start"]:
        found["sinceTime"] = _written(_when(given["start"], "--start"))
    return found


def _written(when: datetime | None) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ") if when else ""


def _when(text: str | None, flag: str) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{flag} is {text!r}", fix="write 2026-11-29T10:00:00Z", field=flag) from None
    return (found if found.tzinfo else found.astimezone()).astimezone(UTC)


def _sources(name: str, replica: str | None) -> Iterator[tuple[str, str]]:
    """Yield pod and container of all whose lines are wanted.

    Raises:
        NotFoundError: if there is none.
    """
    options.deployment(name)
    labels = ",".join(f"{key}={value}" for key, value in names.pod_selector(name).items())
    pods = [pod for pod in options.cluster().list(POD, options.namespace(), labels=labels) if _is_meant(pod, replica)]
    if not pods:
        of = f" with {replica} in its name" if replica else ""
        raise NotFoundError(f"{name} has no pod{of}", fix=f"kubectl llama status {name} says why")
    for pod in pods:
        containers = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
        yield from ((pod["metadata"]["name"], row["name"]) for row in containers if row["name"] in SERVERS)


def _is_meant(pod: Object, replica: str | None) -> bool:
    return replica is None or replica in pod["metadata"]["name"]


def _lines(cluster: Cluster, source: tuple[str, str], query: Mapping[str, str]) -> Iterator[Entry]:
    pod, container = source
    asked = {"container": container, "timestamps": "true", **query}
    for line in cluster.log(options.namespace(), pod, **asked):
        yield lines.read(line, pod)


def _gathered(cluster: Cluster, sources: Sequence[tuple[str, str]], query: Mapping[str, str]) -> Iterator[Entry]:
    found: list[Entry] = []
    silent: list[CliError] = []
    for source in sources:
        try:
            found += _lines(cluster, source, query)
        except CliError as error:  # a container that has not started says nothing; the others may
            silent.append(error)
    if silent and not found:
        raise silent[0]
    yield from sorted(found, key=lambda entry: entry.moment)


def _followed(cluster: Cluster, sources: Sequence[tuple[str, str]], query: Mapping[str, str]) -> Iterator[Entry]:
    """Yield lines of all as they come, until all have ended."""
    said: Queue[Entry | CliError | None] = Queue()
    place = options.namespace()

    def listen(pod: str, container: str) -> None:
        asked = {"container": container, "timestamps": "true", **query}
        try:
            for line in cluster.log(place, pod, **asked):
                said.put(lines.read(line, pod))
        except CliError as error:
            said.put(error)
        finally:
            said.put(None)

    for source in sources:
        Thread(target=listen, args=source, daemon=True).start()
    left = len(sources)
    while left:
        match said.get():
            case None:
                left -= 1
            case CliError() as error:
                terminal.say(f"error: {error}")
            case entry:
                yield entry
