"""The path of the data and nothing else: live state → spec → rollout → preflight → plan → cluster → status."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from llama_operator.cluster import report as reporting
from llama_operator.cluster.apply import apply
from llama_operator.cluster.client import Cluster
from llama_operator.cluster.observe import Observer
from llama_operator.cluster.storms import StormLimit
from llama_operator.cluster.surveyor import Surveyor
from llama_operator.cluster.vigil import Vigil
from llama_operator.errors import ClusterError, NamespaceTerminatingError, PackageError, SpecError
from llama_operator.handlers.cost_metrics import CostMetrics
from llama_operator.handlers.startup_metrics import StartupMetrics
from llama_operator.plan import package
from llama_operator.plan.build import build_plan
from llama_operator.plan.diff import content
from llama_operator.plan.groups import as_groups, as_seen
from llama_operator.plan.observed import Key, Object, Observed, Outcome, Plan, PreflightResult, Ref, Report
from llama_operator.plan.settings import PackageSettings, PlanSettings
from llama_operator.plan.sleep import as_allowed, at_rest
from llama_operator.plan.source import is_shared, token_secret
from llama_operator.preflight import token
from llama_operator.preflight.awaited import awaited
from llama_operator.preflight.case import ask
from llama_operator.preflight.judge import OFF, judge
from llama_operator.rollout.decide import decide
from llama_operator.rollout.room import has_room, is_asked
from llama_operator.settings import Settings
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.spec.parse import parse
from llama_operator.status.report import report

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Brings one LlamaDeployment one step forward; the same from any history, and from any moment it died at."""

    cluster: Cluster
    observer: Observer
    surveyor: Surveyor
    vigil: Vigil
    settings: PlanSettings
    startups: StartupMetrics
    costs: CostMetrics
    limit: StormLimit = field(default_factory=StormLimit)
    admitted: dict[Key, dict[Ref, str]] = field(default_factory=dict[Key, dict[Ref, str]])
    """What admission made of objects, by the last apply of this process; one that starts anew applies once more."""

    async def reconcile(self, key: Key) -> float | None:
        """Look at `key`, act and report; return in how many seconds to look again, if events alone do not tell.

        Raises:
            ClusterError: if the API server failed or refused; to be tried again.
        """
        body = await self.observer.body(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return self._gone(key)
        try:
            seen, found = await self._look(key, body)
        except NamespaceTerminatingError:
            log.info("the namespace is being deleted")
            self.vigil.awaits(key)
            return None
        except ClusterError as error:
            if error.status != 403:
                raise
            log.warning("forbidden: %s", error)
            seen = Observed(key=key, body=body, now=datetime.now(UTC))
            found = report(error, seen, None, None)
        if not await reporting.write(self.cluster, seen, found, self.limit):
            return self._gone(key)
        self.startups.saw(key, seen.body.get("status"), found.status)
        self.costs.saw(key, found.status)
        return found.requeue_after

    def _gone(self, key: Key) -> None:
        """End with a LlamaDeployment that is being deleted, or was meanwhile: owner references do the rest."""
        self.startups.saw(key, None, None)
        self.costs.saw(key, None)
        self.vigil.awaits(key)
        self.admitted.pop(key, None)

    async def _look(self, key: Key, body: Object) -> tuple[Observed, Report]:
        begun = asyncio.get_running_loop().time()
        try:
            spec = parse(body)
        except SpecError as error:
            self.vigil.awaits(key)
            seen = await self.observer.observe(key, body, None)
            return seen, report(error, seen, None, None)
        selector = spec.auth.api_key_secret_selector
        keys = selector.written() if selector else None
        seen = await self.observer.observe(
            key, body, _secret_of(spec), keys, shared=is_shared(spec), package=spec.package
        )
        seen = replace(seen, settled=frozenset(self._settled(seen)))
        try:
            spec = package.resolve(spec, seen, self.settings.packages)
        except PackageError as error:
            self.vigil.awaits(key)
            return seen, report(error, seen, None, None)
        spec = at_rest(as_allowed(spec, self.settings), seen)
        return seen, await self._act(spec, seen, as_seen(spec, seen), begun)

    async def _act(self, spec: LlamaDeploymentSpec, there: Observed, seen: Observed, begun: float) -> Report:
        """Act on what is `there`, read since `begun`; all that decides is shown it as `seen`, see `plan.groups`."""
        try:
            rollout = decide(spec, seen, self.settings)
            plan = build_plan(spec, seen, self.settings, rollout=rollout)
        except SpecError as error:
            self.vigil.awaits(seen.key)
            return report(error, seen, None, None)
        preflight = await self._preflight(spec, seen, plan, begun)
        if preflight is not None:
            plan = build_plan(spec, seen, self.settings, preflight, rollout)
        if is_asked(spec, seen, plan, self.settings):
            room = has_room(spec, plan, await self.surveyor.room(seen.key))
            plan = build_plan(spec, seen, self.settings, preflight, replace(rollout, room=room))
        grouped = as_groups(spec, there, plan)
        outcome = await apply(self.cluster, grouped, there)
        self._remember(seen.key, outcome)
        plan = replace(plan, missing=grouped.missing)
        return report(
            spec,
            seen,
            plan,
            outcome,
            preflight,
            stall_seconds=self.settings.stall_seconds,
            recheck_seconds=self.settings.recheck_seconds,
        )

    def _settled(self, seen: Observed) -> Iterator[Ref]:
        """Yield the objects that are as admission left them."""
        for ref, digest in self.admitted.get(seen.key, {}).items():
            live = seen.children.get(ref)
            if live is not None and content(live) == digest:
                yield ref

    def _remember(self, key: Key, outcome: Outcome) -> None:
        before = self.admitted.get(key, {})
        now = {ref: digest for ref, digest in before.items() if ref not in outcome.applied}
        now.update(outcome.admitted)
        if now:
            self.admitted[key] = now
        else:
            self.admitted.pop(key, None)

    async def _preflight(
        self, spec: LlamaDeploymentSpec, seen: Observed, plan: Plan, begun: float
    ) -> PreflightResult | None:
        """Check what the plan would claim, or a changed token; None where nothing has to be found out."""
        checked = spec.preflight.mode != "off"
        if not checked or not (plan.claims or token.is_due(spec, seen)):
            self.vigil.awaits(seen.key)
            return None if checked else OFF
        asked = ask(spec, seen, plan, self.settings)
        survey = await self.surveyor.survey(seen.key, asked.question)
        result = judge(asked, survey) if plan.claims else token.verdict(asked, survey)
        self.vigil.awaits(seen.key, awaited(asked, result), since=begun)
        return result


def _secret_of(spec: LlamaDeploymentSpec) -> str | None:
    """Return the Secret with the Hub token; a package's are looked at by their names."""
    return None if spec.package is not None else token_secret(spec)[0]


def plan_settings(settings: Settings) -> PlanSettings:
    """Return the part of the operator's settings that ends up in objects."""
    return PlanSettings(
        inference_image=settings.inference_image,
        gateway_image=settings.gateway_image,
        gateway_enabled=settings.gateway_enabled,
        image_pull_policy=settings.image_pull_policy,
        hub_endpoint=settings.hub_endpoint,
        nodes_on_demand=settings.nodes_on_demand,
        namespace=settings.lease_namespace,
        stall_seconds=settings.stall_seconds,
        recheck_seconds=settings.recheck_seconds,
        packages=PackageSettings(
            builder_image=settings.package_builder_image,
            images=settings.package_images,
            index_url=settings.package_index_url,
            wheelhouse_claim=settings.package_wheelhouse_claim,
        ),
    )
