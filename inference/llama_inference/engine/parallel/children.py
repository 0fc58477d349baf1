"""The ranks that a node's main process starts: one child each, tied to it by a pipe."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from llama_inference.values import Json

MODULE: Final = "llama_inference.engine.parallel.child"
PATIENCE_S: Final = 5.0


class Children:
    """Child processes by rank. The pipe to each stays open for as long as this process lives."""

    def __init__(self, orders: dict[int, dict[str, Json]]) -> None:
        """Start one child for each rank; each reads its orders, see `child`, and then the end of this process."""
        self._ending = False
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        for rank, order in orders.items():
            process = subprocess.Popen([sys.executable, "-m", MODULE], stdin=subprocess.PIPE)
            self._processes[rank] = process
            if process.stdin is not None:
                with suppress(BrokenPipeError):  # it has died already: `ended` says how
                    process.stdin.write(json.dumps(order).encode() + b"\n")
                    process.stdin.flush()

    def watch(self, on_ended: Callable[[str], None]) -> None:
        """From now on say, from another thread, when a child ends before `end` is called."""

        def wait(rank: int, process: subprocess.Popen[bytes]) -> None:
            code = process.wait()
            if not self._ending:
                on_ended(f"rank {rank} {told(code)}")

        for each in self._processes.items():
            threading.Thread(target=wait, args=each, name=f"rank {each[0]}", daemon=True).start()

    def ended(self) -> dict[int, str]:
        """How those ranks ended that have: a rank, and what is to be said of it."""
        codes = {rank: process.poll() for rank, process in self._processes.items()}
        return {rank: told(code) for rank, code in codes.items() if code is not None}

    def how(self, rank: int) -> str | None:
        """How a rank ended whose connection has, None for one that is no child of this process."""
        process = self._processes.get(rank)
        if process is None:
            return None
        with suppress(subprocess.TimeoutExpired):
            return f"{told(process.wait(PATIENCE_S))} (process {process.pid})"
        return f"closed its connection (process {process.pid})"

    def end(self, *, patience: float = 0.0) -> None:
        """Wait for all children, and kill those that take longer than `patience` seconds."""
        self._ending = True
        for process in self._processes.values():
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()


def told(code: int) -> str:
    """What an exit code of `subprocess` says."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
