"""The rollouts that there were, and what was decided about the present one: values, with no logic of their own.

A rollout is kept in a ControllerRevision that the LlamaDeployment owns: its number, the pod template, the spec it
came from, and what became of it. `plan.revisions` reads and writes them, `rollout` decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

RolloutOutcome = Literal["Progressing", "Succeeded", "RolledBack", "Superseded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One rollout.

    `template` is the pod template as it was applied, `annotations` those of the Deployment that go with it; `intent`
    is a digest of all that the spec says about pods, whatever commit and default image that led to; `spec` is the
    spec itself, without defaults. `finished`, `reason` and `message` tell of an outcome other than Progressing.
    `crashes` are those of groups over several nodes in a row, and `crashed` is when the last one was.
    """

    number: int
    template: Mapping[str, Any]
    annotations: Mapping[str, str]
    intent: str
    spec: Mapping[str, Any]
    started: str
    outcome: RolloutOutcome = "Progressing"
    finished: str | None = None
    reason: str | None = None
    message: str | None = None
    crashes: int = 0
    crashed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a rollout has failed: one of `status.reason.Reason`, and its sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What was decided.

    `revisions` are all that are known, oldest first, with their outcomes as of now. `keep` is the one whose template
    the pods have whatever the spec says, for the reason `why`; `NoSuchRevision` keeps what runs. `room` tells
    whether the GPUs of one more pod are free, None where nobody has looked; `running` is the number of
    the one that the Deployment is to have; `surges` whether it makes a new pod before it takes an old one away.
    """

    revisions: tuple[Revision, ...] = ()
    keep: Revision | None = None
    why: Literal["Spec", "RolledBack", "RollbackTo", "NoSuchRevision"] = "Spec"
    room: bool | None = None
    running: int | None = None
    surges: bool = True

    @property
    def newest(self) -> Revision | None:
        """The last one that was begun."""
        return self.revisions[-1] if self.revisions else None
