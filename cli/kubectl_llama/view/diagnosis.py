"""Why does a deployment not serve? Everything that was read → one cause, one fix, and what bears it out. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubectl_llama.view.lines import LEVELS, Entry
from llama_operator.names import LABEL_GPU_PRODUCT
from llama_operator.status.reason import Reason
from llama_operator.status.reasons import REASONS

Object = Mapping[str, Any]
_SHOWN: Final = 6
_CONSEQUENCES: Final = frozenset({"Available", "Progressing", "Degraded"})
"""Conditions that follow from the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was read; None where it may not be read. `logs` are the last lines of pods that are not ready."""

    body: Object
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    nodes: Sequence[Object] | None = None
    logs: Sequence[Entry] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The cause, in one word and one sentence, what to do, and the evidence: title → lines."""

    healthy: bool
    reason: str
    message: str
    fix: str
    evidence: Mapping[str, Sequence[str]]

    def as_json(self, body: Object) -> dict[str, Any]:
        """Return it as `-o json` prints it."""
        return {
            "name": body["metadata"]["name"],
            "namespace": body["metadata"].get("namespace"),
            "healthy": self.healthy,
            "cause": None if self.healthy else {"reason": self.reason, "message": self.message, "fix": self.fix},
            "evidence": {title: list(lines) for title, lines in self.evidence.items()},
        }

    def lines(self) -> Iterator[str]:
        """Yield it for people: cause and fix first."""
        yield f"{self.reason}: {self.message}" if not self.healthy else f"nothing is wrong: {self.message}"
        if self.fix:
            yield f"  fix: {self.fix}"
        for title, rows in self.evidence.items():
            if rows:
                yield ""
                yield title
                yield from (f"  {row}" for row in rows)


def diagnose(facts: Facts) -> Diagnosis:
    """Return the cause that is to be mended first."""
    healthy, reason, message, fix = _cause(facts)
    evidence = {
        "conditions": [*_conditions(facts.body, message)],
        "pods": [*_pods(facts.pods)],
        "events": [*_events(facts.events, message)],
        "nodes": [*_nodes(facts.nodes)],
        "last words of the servers": [*_words(facts.logs)],
    }
    return Diagnosis(healthy, reason, message, fix, evidence)


def _cause(facts: Facts) -> tuple[bool, str, str, str]:
    body, name = facts.body, facts.body["metadata"]["name"]
    status = body.get("status") or {}
    if status.get("observedGeneration", 0) < body["metadata"].get("generation", 1):
        what = "no operator has looked at the spec as it is now"
        return False, "NotSeen", what, "install the operator, or see in its log why it does not run: docs/operating.md"
    rows = status.get("conditions") or ()
    wrong = [row for row in rows if row["status"] == "False" and row["reason"] not in ("Waiting", "Asleep", "Stopped")]
    causes = [row for row in wrong if row["type"] not in _CONSEQUENCES]
    degraded = [row for row in rows if row["type"] == "Degraded" and row["status"] == "True"]
    first = next(iter((*causes, *degraded, *(row for row in wrong if row["type"] == "Available"))), None)
    phase = status.get("phase", "Pending")
    if phase == "Asleep":
        return True, phase, f"{name} sleeps, since nobody asks", "a request wakes it: kubectl llama predict"
    if phase == "Stopped":
        return True, phase, f"{name} has no replicas", f"kubectl llama scale {name} --replicas 1"
    if first is None or (phase == "Ready" and not degraded):
        what = "predict requests are answered" if phase == "Ready" else f"it is on its way ({phase})"
        return True, phase, what, "" if phase == "Ready" else f"kubectl llama status {name} -w shows how far"
    return False, first["reason"], first["message"], _fix(first["reason"])


def _fix(reason: str) -> str:
    try:
        return REASONS[Reason(reason)].fix
    except (ValueError, KeyError):  # of an operator of another version
        return "the message says what to do; docs/conditions.md lists every reason"


def _conditions(body: Object, said: str) -> Iterator[str]:
    for row in (body.get("status") or {}).get("conditions") or ():
        if row["reason"] != "Waiting":
            words = "as above" if row["message"] == said else row["message"]
            yield f"{row['type']}={row['status']} {row['reason']}: {words}"


def _pods(pods: Sequence[Object]) -> Iterator[str]:
    for pod in pods:
        status = pod.get("status") or {}
        node = pod.get("spec", {}).get("nodeName")
        where = f"on {node}" if node else "on no node"
        yield f"{pod['metadata']['name']} is {status.get('phase', 'Unknown')} {where}"
        for row in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            yield from (f"  {row['name']}: {words}" for words in _states(row))
        for row in status.get("conditions") or ():
            if row["type"] == "PodScheduled" and row["status"] == "False":
                yield f"  not scheduled: {row.get('message', '')}"


def _states(row: Object) -> Iterator[str]:
    waiting: Object = (row.get("state") or {}).get("waiting") or {}
    ended: Object = (row.get("state") or {}).get("terminated") or (row.get("lastState") or {}).get("terminated") or {}
    if waiting:
        yield f"waits, {waiting.get('reason', '')} {waiting.get('message', '')}".rstrip()
    if ended and ended.get("exitCode"):
        yield f"ended with code {ended['exitCode']} ({ended.get('reason', '')}), {row.get('restartCount', 0)} restarts"


def _events(events: Sequence[Object], cause: str) -> Iterator[str]:
    warnings = [row for row in events if row.get("type") == "Warning" and row.get("message") != cause]
    warnings.sort(key=lambda row: row.get("lastTimestamp") or row.get("eventTime") or "", reverse=True)
    said: set[tuple[str, str]] = set()
    for row in warnings:
        key = (row.get("reason", ""), row.get("message", ""))
        if key not in said and len(said) < _SHOWN:
            said.add(key)
            of = row.get("involvedObject") or {}
            yield f"{key[0]} of {of.get('kind', '')} {of.get('name', '')}: {key[1]}"


def _nodes(nodes: Sequence[Object] | None) -> Iterator[str]:
    if nodes is None:
        yield "may not be read"
        return
    for node in nodes[: 2 * _SHOWN]:
        has = (node.get("status") or {}).get("allocatable") or {}
        gpus = {name: count for name, count in has.items() if "gpu" in name or "mig-" in name}
        product = (node["metadata"].get("labels") or {}).get(LABEL_GPU_PRODUCT)
        taints = [taint["key"] for taint in (node.get("spec") or {}).get("taints") or ()]
        words = [f"{name} {count}" for name, count in gpus.items()] or ["no GPU"]
        words += [product] if product else []
        words += [f"{name} {has[name]}" for name in ("cpu", "memory") if name in has]
        words += [f"taints {', '.join(taints)}"] if taints else []
        yield f"{node['metadata']['name']}: {', '.join(words)}"


def _words(logs: Sequence[Entry]) -> Iterator[str]:
    bad = [row for row in logs if row.level in LEVELS[2:]]
    yield from (row.text() for row in (bad or list(logs))[-_SHOWN:])
