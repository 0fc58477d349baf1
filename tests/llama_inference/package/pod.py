"""A package's pod for tests: the container of the package, and ours in front of it, sharing a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from llama_inference.package_app import PackageServer
from llama_inference.settings import Settings
from tests.llama_inference.harness import LOADING_S, Listening, eventually
from tests.support.truss.container import Container


class Front(Listening):
    """Our server in front of the package whose container shares `run` with it."""

    def __init__(self, run: Path, **given: Any) -> None:
        values: dict[str, Any] = {"drain_notice_seconds": 0.0, "served_name": "tiny", **given}
        self.server = PackageServer(Settings(backend="package", package_dir=run, **values))
        super().__init__(self.server.app, self.server.settings)

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric, 0 when it has none yet."""
        return self.server.metrics.registry.get_sample_value(f"llama_inference_{name}", labels) or 0.0

    def startup(self) -> dict[str, Any]:
        """The start-up report."""
        return self.client.get("/startupz").json()

    def waits_for(self, condition: Callable[[], object], what: str = "the condition") -> None:
        """Wait as long as a package may take to load."""
        eventually(condition, what, LOADING_S)

    def ready(self) -> Self:
        """Wait until predict is answered."""
        self.waits_for(lambda: self.client.get("/readyz").status_code == 200, "ready")
        return self


class Pod(Front):
    """Both containers."""

    def __init__(self, package: str = "", *, container: dict[str, Any] | None = None, **given: Any) -> None:
        """`container` and `secrets` are the container's arguments, all else are our settings."""
        self.package = package
        secrets = given.pop("secrets", None)
        self.container = Container(package, secrets=secrets, **(container or {}))
        super().__init__(self.container.run, **given)

    def __enter__(self) -> Self:
        self.container.__enter__()
        try:
            return super().__enter__()
        except BaseException:
            self.container.__exit__()
            raise

    def __exit__(self, *given: object) -> None:
        super().__exit__(*given)
        self.container.__exit__(*given)

    def ready(self) -> Self:
        """Wait until predict is answered; show the log where it is not."""
        try:
            return super().ready()
        except AssertionError:
            raise AssertionError(f"{self.startup()}\n{self.container.log[-4000:]}") from None
