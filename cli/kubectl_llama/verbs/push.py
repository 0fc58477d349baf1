"""`push`: bring a LlamaDeployment into the cluster, and wait until it serves."""

import difflib
import json
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any, Final

import click
import yaml

from kubectl_llama import options
from kubectl_llama.ask import package, resource
from kubectl_llama.ask.conflict import is_our_own
from kubectl_llama.ask.package import Package
from kubectl_llama.ask.verdict import Verdict, is_seen, verdict
from kubectl_llama.edge import terminal
from kubectl_llama.edge.kinds import CONFIG_MAP, LLAMA
from kubectl_llama.edge.kube import MANAGER, Cluster, Object, seconds
from kubectl_llama.errors import CliError, NotFoundError, RefusedError, TimedOutError, UsageError
from kubectl_llama.verbs.pushed import pushed, pushed_flags
from kubectl_llama.view import drawing, summary, timeline

LOOK_SECONDS: Final = 0.5
_QUESTION: Final = {"prompt": "What is the meaning of life?"}
_SILENT_SECONDS: Final = 15.0
"""How long an operator may take to look at what was pushed before that is told."""


@click.command()
@pushed_flags
@click.option("--wait/--no-wait", default=True, help="Wait until it serves (the default), or do not.")
@click.option("--timeout", metavar="TIME", default="1h", show_default=True, help="How long to wait.")
@click.option("--tail", is_flag=True, help="Follow the logs once it serves.")
@click.option("--dry-run", type=click.Choice(("client", "server")), help="Print what would be applied, and stop.")
@click.option("--diff", is_flag=True, help="Print what would change, and stop.")
@click.option("--force-conflicts", is_flag=True, help="Take over fields that others have set.")
@click.option("--trusted", is_flag=True, hidden=True)
@click.option("--publish", is_flag=True, hidden=True)
@click.option("--promote", is_flag=True, hidden=True)
@click.option("--environment", hidden=True)
@options.output_flag("json", "yaml", "name")
@options.kubectl_flags
def command(**given: Any) -> None:  # noqa: ANN401  (click's own values)
    """Serve a model, or change what is served, and wait for it.

    \b
    kubectl llama push --model HuggingFaceTB/SmolLM2-135M-Instruct --gpu 0
    kubectl llama push -f llama.yaml --set replicas=2
    kubectl llama push ./my-package
    """
    _notes(given)
    limit = seconds(given["timeout"], "--timeout")
    found = pushed(given)
    wanted = found.body
    resource.checked(wanted)
    for fault in found.faults:
        terminal.say(f"warning: {fault}")
    if given["dry_run"] == "client":
        return _print_tried(wanted)
    cluster = options.cluster()
    wanted = resource.placed(wanted, options.namespace())
    if given["diff"]:
        return _show_difference(cluster, wanted, force=given["force_conflicts"])
    # First to see whether it is taken: what is refused leaves no ConfigMap behind.
    if given["dry_run"] == "server" or found.package is not None:
        tried = _apply(cluster, wanted, dry_run=True, force=given["force_conflicts"])
        if given["dry_run"] == "server":
            return _print_tried(tried)
    if found.package is not None:
        cluster.apply(CONFIG_MAP, package.config_map(found.package, wanted))
    applied = _apply(cluster, wanted, dry_run=False, force=given["force_conflicts"])
    name = applied["metadata"]["name"]
    terminal.say(f"pushed {name} to namespace {options.namespace()}")
    if given["wait"]:
        applied = _wait(cluster, name, limit)
    _print(applied, found.package, waited=given["wait"])
    if given["tail"]:
        from kubectl_llama.verbs.logs import follow  # noqa: PLC0415

        follow(name)
    return None


def _notes(given: Mapping[str, Any]) -> None:
    """Say what flags of truss mean here."""
    if given["environment"]:
        raise UsageError("there are no environments here", fix=f"use -n {given['environment']}", field="--environment")
    written = [f"--{name}" for name in ("trusted", "publish", "promote") if given[name]]
    if written:
        terminal.say(f"note: {' and '.join(written)} have no effect: every push here is what they ask for")


def _apply(cluster: Cluster, wanted: Object, *, dry_run: bool, force: bool) -> Object:
    """Apply, taking over what verbs of this program have set; a push is what runs, so it ends a rollback as well."""
    try:
        applied = cluster.apply(LLAMA, wanted, dry_run=dry_run, force=force)
    except CliError as error:
        if not is_our_own(str(error), MANAGER):
            raise
        applied = cluster.apply(LLAMA, wanted, dry_run=dry_run, force=True)
    rollout: Object = applied["spec"].get("rollout") or {}
    asked: Object = wanted["spec"].get("rollout") or {}
    if rollout.get("rollbackTo") is None or asked.get("rollbackTo") is not None or dry_run:
        return applied
    terminal.say(f"spec.rollout.rollbackTo is taken back, which held revision {rollout['rollbackTo']}")
    name, place = applied["metadata"]["name"], applied["metadata"]["namespace"]
    return cluster.patch(LLAMA, name, place, {"spec": {"rollout": {"rollbackTo": None}}})


def _print_tried(body: Object) -> None:
    form = options.state().output
    terminal.result(_named(body)) if form == "name" else terminal.document(body, form or "yaml")


def _named(body: Object) -> str:
    return f"llamadeployment.llama-operator.dev/{body['metadata']['name']}"


def _show_difference(cluster: Cluster, wanted: Object, *, force: bool) -> None:
    live = cluster.get(LLAMA, wanted["metadata"]["name"], wanted["metadata"]["namespace"])
    then = _apply(cluster, wanted, dry_run=True, force=force)
    before, after = (yaml.safe_dump({"spec": (body or {}).get("spec")}).splitlines() for body in (live, then))
    lines = [*difflib.unified_diff([] if live is None else before, after, "live", "pushed", lineterm="")]
    terminal.result("\n".join(lines)) if lines else terminal.say("nothing would change")


def _wait(cluster: Cluster, name: str, limit: float) -> Object:
    """Show the timeline until it is over.

    Raises:
        CliError: RefusedError or another one as it ended; TimedOutError if it has not.
    """
    again = f"kubectl llama status {name} -n {options.namespace()} -w"
    try:
        for body in _looks(cluster, name, limit):
            ended = verdict(body)
            if ended is not None:
                return _over(body, ended, again)
    except KeyboardInterrupt:
        terminal.say(f"\n{name} goes on without you; look again with: {again}")
        raise
    raise TimedOutError(f"{name} does not serve after {limit:g} seconds; it goes on", fix=f"look again with: {again}")


def _over(body: Object, ended: Verdict, again: str) -> Object:
    if ended.state == "done":
        return body
    name = body["metadata"]["name"]
    kind = RefusedError if ended.state == "refused" else CliError
    how = f"once that is mended it goes on by itself: {again}; more: kubectl llama diagnose {name}"
    raise kind(ended.message, code=ended.reason, fix=how)


def _looks(cluster: Cluster, name: str, limit: float) -> Iterator[Object]:
    """Yield the deployment time and again, showing what is new in it."""
    start, news, told = time.monotonic(), timeline.News(), False
    view = terminal.live() if terminal.is_live() else nullcontext()
    with view as shown:
        while time.monotonic() - start < limit:
            body = cluster.get(LLAMA, name, options.namespace())
            if body is None:
                raise NotFoundError(f"{name} was deleted meanwhile")
            status = (body.get("status") or {}) if is_seen(body) else {}
            if shown is not None:
                shown.update(drawing.timeline(timeline.rows(status), timeline.problem(status)))
            else:
                for line in news.of(status):
                    terminal.say(line)
            if not status and not told and time.monotonic() - start > _SILENT_SECONDS:
                told = True
                terminal.say("no operator has looked at it yet: is one installed, and does it serve this namespace?")
            yield body
            time.sleep(LOOK_SECONDS)


def _print(body: Object, pack: Package | None, *, waited: bool) -> None:
    form, shown = options.state().output, summary.as_json(body)
    if pack is not None:
        shown["package"] = {"digest": pack.digest, "bytes": len(pack.archive), "where": shown["package"]["where"]}
        shown["ignored"] = [{"field": row.field, "why": row.words} for row in pack.ignored]
    name, place = shown["name"], f" -n {shown['namespace']}"
    if form == "name":
        terminal.result(_named(body))
    elif form:
        terminal.document(shown, form)
    if waited:
        terminal.say(
            f"{name} serves ({shown['ready']} ready)" if shown["phase"] == "Ready" else f"{name}: {shown['phase']}"
        )
    question = (package.example(pack.config) if pack is not None else None) or _QUESTION
    ask = f"kubectl llama predict {name}{place} -d {shlex.quote(json.dumps(question))}"
    terminal.say(ask if waited else f"look at it with: kubectl llama status {name}{place} -w")
