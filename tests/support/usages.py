"""What pods have done, as told by a test."""

from collections.abc import Mapping, Sequence

from llama_operator.plan.observed import Object, Usage


class ToldUsages:
    """Answers as told; `asked` are the pods of each question."""

    def __init__(self, told: Mapping[str, Usage] | None = None) -> None:
        self.told = told or {}
        self.asked: list[list[str]] = []

    async def of(self, pods: Sequence[Object]) -> Mapping[str, Usage]:
        """Return what was told about these pods."""
        names = [pod["metadata"]["name"] for pod in pods]
        self.asked.append(names)
        return {name: self.told[name] for name in names if name in self.told}
