"""Gateways and operator together, in thousands of interleavings: no pod is stopped under a request."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from llama_operator.gateway import decide
from llama_operator.gateway.decide import Limits, Mind, Step
from llama_operator.plan.activity import Activity, Pods

IDLE = 20.0
LIMITS = Limits(idle_seconds=IDLE, hold_seconds=30, max_held=100)
TICK = 0.25


@dataclass
class Shared:
    """The Lease, as the API server holds it: a write onto another version than was read is refused."""

    version: int = 1
    wanted: bool = True
    pods: Pods = Pods.AWAKE

    def read(self) -> Activity:
        """What it says."""
        return Activity(version=str(self.version), wanted=self.wanted, pods=self.pods)

    def write(self, version: str, *, wanted: bool | None = None, pods: Pods | None = None) -> bool:
        """Write onto this version; whether it was accepted."""
        if version != str(self.version):
            return False
        self.version += 1
        self.wanted = self.wanted if wanted is None else wanted
        self.pods = self.pods if pods is None else pods
        return True


@dataclass
class Gateway:
    """A gateway with a clock of its own, whose requests to the API server take a while."""

    lease: Shared
    dice: random.Random
    offset: float
    mind: Mind = field(default_factory=Mind)
    version: str = ""
    pending: tuple[float, Callable[[float], None]] | None = None
    ends: list[float] = field(default_factory=list[float])
    waiting: int = 0

    def tick(self, time: float) -> None:
        """Live for a moment."""
        now = time + self.offset
        for end in [end for end in self.ends if end <= time]:
            self.ends.remove(end)
            self.mind = decide.left(self.mind, now, held=False)
        if self.pending is not None and self.pending[0] <= time:
            act = self.pending[1]
            self.pending = None
            act(now)
        if self.pending is None:
            self.begin(time, now)
        while self.waiting and decide.is_open(self.mind, now, LIMITS):
            self.waiting -= 1
            self.mind = decide.released(self.mind, now)
            self.ends.append(time + self.dice.choice([0.0, 1.0, 15.0, 90.0]))

    def arrive(self, time: float) -> None:
        """A request comes."""
        self.waiting += 1
        self.mind = decide.arrived(self.mind, time + self.offset, held=True)

    def begin(self, time: float, now: float) -> None:
        """Begin the next step; its effect comes later."""
        step, at = decide.next_step(self.mind, now, LIMITS)
        if step is Step.WAIT or at > now:
            return
        version = self.version
        done: dict[Step, Callable[[float], None]] = {
            Step.READ: self.read,
            Step.KNOCK: lambda now: self.set(
                decide.knocked(self.mind, now, answered=self.lease.pods is Pods.AWAKE and self.dice.random() < 0.7)
            ),
            Step.RENEW: lambda done: self.write(version, now, done, wanted=True),
            Step.SLEEP: lambda done: self.write(version, now, done, wanted=False),
        }
        self.pending = time + self.dice.choice([0.0, TICK, 1.0, 2.0]), done[step]

    def set(self, mind: Mind) -> None:
        """Take a new mind."""
        self.mind = mind

    def read(self, now: float) -> None:
        """The Lease was read, by one whose wall clock may tell anything."""
        found = self.lease.read()
        self.version = found.version
        self.mind = decide.saw(self.mind, found, now, age=self.dice.uniform(0, IDLE * decide.TRUST))

    def write(self, version: str, asked_at: float, now: float, *, wanted: bool) -> None:
        """The Lease was written, or somebody else was quicker."""
        if not self.lease.write(version, wanted=wanted):
            self.read(now)
            return
        self.version = self.lease.read().version
        self.mind = decide.renewed(self.mind, self.lease.read(), asked_at, now)


@pytest.mark.slow
@pytest.mark.parametrize("gateways", [1, 2, 3])
def test_no_pod_is_stopped_while_a_gateway_sends_to_it(gateways: int) -> None:
    """Whatever comes first, last requests, restarts, slow answers or wrong clocks; and every request gets through."""
    slept = served = 0
    for seed in range(60):
        dice = random.Random(seed)  # noqa: S311  (a repeatable walk)
        lease = Shared()
        # The API server's answers may come in any order, clocks tell anything.
        fleet = [Gateway(lease, dice, dice.uniform(0, 1e6)) for _ in range(gateways)]
        seen: Activity | None = None
        busy = dice.choice([0.0005, 0.01, 0.05])
        for number in range(int(300 / TICK)):
            time = number * TICK
            if dice.random() < busy:
                dice.choice(fleet).arrive(time)
            if dice.random() < 0.002:
                place = dice.randrange(gateways)
                if not fleet[place].mind.busy and fleet[place].pending is None:
                    fleet[place] = Gateway(lease, dice, dice.uniform(0, 1e6))
            for gateway in fleet:
                gateway.tick(time)
            if seen is None:
                seen = lease.read() if dice.random() < 0.2 else None
            elif dice.random() < 0.2:
                pods = Pods.AWAKE if seen.wanted else Pods.ASLEEP
                if lease.pods is not pods and lease.write(seen.version, pods=pods) and pods is Pods.ASLEEP:
                    slept += 1
                    opened = [decide.is_open(one.mind, time + one.offset, LIMITS) for one in fleet]
                    assert (opened, [one.ends for one in fleet]) == ([False] * gateways, [[]] * gateways), seed
                seen = None
        served += sum(len(one.ends) for one in fleet)
        assert all(one.mind.in_flight == len(one.ends) for one in fleet)
    assert slept > 20, "the model hardly ever slept: this showed nothing"
    assert served > 0
