"""Fixtures: packages as they run in a pod, the genuine truss server behind ours."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.llama_inference.package.pod import Pod
from tests.support.truss.cases import SECRETS


class Pods:
    """One pod at a time, kept while tests of the same package follow each other."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._pod: Pod | None = None

    def of(self, package: str) -> Pod:
        """The pod of a package, ready."""
        if self._pod is None or self._pod.package != package:
            self.close()
            self._pod = self._stack.enter_context(Pod(package, secrets=SECRETS.get(package)))
            self._pod.ready()
        return self._pod

    def close(self) -> None:
        """End the pod."""
        self._stack.close()
        self._pod = None


@pytest.fixture(scope="session")
def pods() -> Iterator[Pods]:
    """Ready pods by the name of their package; only for tests that leave them as they are."""
    pods = Pods()
    yield pods
    pods.close()
