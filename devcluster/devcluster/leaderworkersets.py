"""Build the controller of LeaderWorkerSets from its Go module, for the tests that need it; the cluster does without.

It stands apart from the cluster's own programs: built only when somebody asks, in about two minutes on two cores, and
inside its module's own folder, whose go.mod and go.sum say what it is made of.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devcluster.binaries import GO_ENV, HINT, STRIP, find_go
from devcluster.cache import build_once, digest, locked
from devcluster.commands import run, run_logged
from devcluster.layout import Layout
from devcluster.progress import step

MODULE: Final = "sigs.k8s.io/lws@v0.8.0"
_DEFINITION: Final = "config/crd/bases/leaderworkerset.x-k8s.io_leaderworkersets.yaml"
_WEBHOOKS: Final = "config/webhook/manifests.yaml"


@dataclass(frozen=True, slots=True)
class Built:
    """The controller, the CustomResourceDefinition of its kind, and its webhooks as its module has them."""

    program: Path
    definition: Path
    webhooks: Path


def ensure(layout: Layout) -> Built:
    """Build the controller unless it is in the cache.

    Raises:
        CommandFailedError: go failed; its log is named.
    """
    target = layout.cache / "bin" / digest(MODULE, STRIP)
    with locked(layout.cache / "leaderworkersets.lock"), step(f"build {MODULE}") as current:
        if not build_once(target, lambda partial: _build(layout, partial)):
            current.cached()
    return Built(target / "leaderworkersets", target / Path(_DEFINITION).name, target / Path(_WEBHOOKS).name)


def _build(layout: Layout, partial: Path) -> None:
    go = find_go(layout)
    # Elsewhere than in a module of ours, whose requirements it must not be held to.
    found = run([go, "mod", "download", "-json", MODULE], hint=HINT, env=GO_ENV, cwd=partial)
    module = Path(json.loads(found)["Dir"])
    argv = [go, "build", "-trimpath", "-ldflags", STRIP, "-o", str(partial / "leaderworkersets"), "./cmd"]
    run_logged(argv, log=layout.cache / "log" / "build-leaderworkersets.log", hint=HINT, env=GO_ENV, cwd=module)
    for name in (_DEFINITION, _WEBHOOKS):
        # The module's files are read-only; the copy is ours to remove.
        (partial / Path(name).name).write_bytes((module / name).read_bytes())
