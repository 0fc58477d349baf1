"""One row of the table of reasons."""

from dataclasses import dataclass

from llama_operator.spec.status import ConditionType


@dataclass(frozen=True, slots=True)
class Entry:
    """What a reason means, its usual cause, and the fix; `problem` if a person has to act or wait for others."""

    conditions: tuple[ConditionType, ...]
    meaning: str
    cause: str = ""
    fix: str = ""

    @property
    def problem(self) -> bool:
        """Whether something is wrong."""
        return bool(self.fix)
