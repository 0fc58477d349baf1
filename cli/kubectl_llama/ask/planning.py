"""What a push would create and what preflight says of it: by the operator's own code, over facts read here. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kubectl_llama.ask.room import Room, room
from kubectl_llama.errors import RefusedError
from llama_operator.errors import PackageError, SpecError
from llama_operator.plan import package, revisions
from llama_operator.plan.build import build_plan
from llama_operator.plan.observed import Key, Observed, PreflightResult, SecretFact, ref_of
from llama_operator.plan.observed import Plan as Desired
from llama_operator.plan.settings import PlanSettings
from llama_operator.plan.survey import Survey
from llama_operator.preflight.case import Case
from llama_operator.preflight.case import ask as case_of
from llama_operator.preflight.judge import judge
from llama_operator.spec.model import LlamaDeploymentSpec

Object = Mapping[str, Any]
UNASKED: Final = "Checking"
"""The reason of a result without the Hub's answer."""
_MARKS: Final = {"passed": "✓", "failed": "✗", "unknown": "?"}


@dataclass(frozen=True, slots=True)
class Draft:
    """A push that is looked at: its case for preflight, and the objects it stands for."""

    spec: LlamaDeploymentSpec
    case: Case
    desired: Desired


def draft(
    spec: LlamaDeploymentSpec,
    body: Object,
    secret: SecretFact | None,
    settings: PlanSettings,
    now: datetime,
    *,
    archive: Object | None = None,
    secrets: Sequence[SecretFact] = (),
) -> Draft:
    """Return what is to be asked before it can be judged.

    Args:
        spec: what is served; a package is read from its `archive`.
        body: the LlamaDeployment.
        secret: what is known of the Secret with the Hub token.
        settings: those of the operator.
        now: the time.
        archive: the ConfigMap with the package.
        secrets: what is known of the Secrets that a package may take its secrets from.

    Raises:
        RefusedError: if the spec cannot be served as written.
    """
    metadata = {**body["metadata"], "uid": ""}
    key = Key(metadata["namespace"], metadata["name"])
    children = {ref_of(archive): archive} if archive is not None else {}
    seen = Observed(
        key=key,
        body={**body, "metadata": metadata},
        now=now,
        secret=secret,
        children=children,
        package_secrets=tuple(secrets),
    )
    try:
        spec = package.resolve(spec, seen, settings.packages)
        desired = build_plan(spec, seen, settings)
    except SpecError as error:
        code = error.reason if isinstance(error, PackageError) else "InvalidSpec"
        raise RefusedError(str(error), field=error.field, code=code) from None
    return Draft(spec, case_of(spec, seen, desired, settings), desired)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What would come of a push."""

    objects: tuple[tuple[str, str], ...]
    preflight: PreflightResult
    room: Room
    gpus: int
    price: float | None
    endpoint: str

    def refusal(self) -> RefusedError | None:
        """Return the error of a push of which nothing would come but the LlamaDeployment itself."""
        if not self.preflight.holds or self.preflight.reason == UNASKED:
            return None
        what = f"a push would be refused: {self.preflight.message}"
        return RefusedError(what, code=self.preflight.reason, fix="mend it, or set preflight.mode=warn")

    def as_json(self, body: Object) -> dict[str, Any]:
        """Return it as `-o json` prints it."""
        return {
            "name": body["metadata"]["name"],
            "namespace": body["metadata"]["namespace"],
            "creates": [{"kind": kind, "name": name} for kind, name in self.objects],
            "checks": [{"name": name, "state": state, "message": words} for name, state, words in self.checks],
            "room": {"when": self.room.when, "why": self.room.why},
            "gpus": self.gpus,
            "costPerHour": self.cost,
        }

    @property
    def checks(self) -> list[tuple[str, str, str]]:
        """Name, state and words of each check, and of the one that could not be made from here."""
        rows = [(str(row.check), str(row.state), row.message) for row in self.preflight.findings]
        if self.preflight.reason != UNASKED:
            return rows
        words = f"the Hub at {self.endpoint} does not answer from here, or was not asked: the operator will ask it"
        return [("Model", "unknown", words), *rows]

    @property
    def cost(self) -> float | None:
        """What an hour costs, where the price of a GPU is known."""
        return None if self.price is None else round(self.gpus * self.price, 6)

    def lines(self, body: Object) -> list[str]:
        """Return it for people."""
        name, place = body["metadata"]["name"], body["metadata"]["namespace"]
        kinds = [f"  {kind} {obj}" for kind, obj in self.objects]
        checks = [f"  {_MARKS[state]} {name:<12} {words}" for name, state, words in self.checks]
        cost = f"{self.cost:g} an hour" if self.cost is not None else "no price is known: give --gpu-hour-price"
        return [
            f"{name} in namespace {place} would create",
            *kinds,
            "checks",
            *checks,
            f"room: {self.room.when}; {self.room.why}",
            f"cost: {self.gpus} GPU-hours an hour, {cost}" if self.gpus else "cost: no GPU",
        ]


def decide(
    plan: Draft,
    survey: Survey,
    pods: Sequence[Object] | None,
    *,
    on_demand: str | None,
    price: float | None,
) -> Verdict:
    """Return what would come of it."""
    spec = plan.spec
    found = judge(plan.case, survey)
    node = next((row for row in found.findings if row.check == "Node" and row.state != "passed"), None)
    # Unknown it is where nodes come on demand, and where nodes may not be read: then that is said.
    misfit = node.message if node is not None and survey.nodes is not None else None
    gpus = spec.replicas * spec.resources.gpu.nodes * spec.resources.gpu.count
    known = spec.cost.price_per_gpu_hour
    return Verdict(
        objects=tuple(
            (obj["kind"], obj["metadata"]["name"]) for obj in plan.desired.desired if obj["kind"] != revisions.KIND
        ),
        preflight=found,
        room=room(
            plan.case.pod,
            spec.resources.gpu,
            spec.replicas,
            nodes=survey.nodes,
            pods=pods,
            on_demand=on_demand,
            misfit=misfit,
        ),
        gpus=gpus,
        price=known if known is not None else price,
        endpoint=plan.case.question.endpoint,
    )
