"""A persistent volume that is as large as it says and no larger, and weights to fill it with."""

import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.support import models, stack
from tests.support.devcluster import LAYOUT
from tests.support.kubectl import kubectl_ok


@dataclass(frozen=True, slots=True)
class SmallVolume:
    """`storage_class` is what a claim asks for to get this volume; `folder` is where it lies on the node."""

    storage_class: str
    folder: Path


@contextmanager
def small_volume(size: str) -> Generator[SmallVolume]:
    """Have a volume that holds `size` bytes, as mount(8) writes them; it goes at the end, with what is in it."""
    name = f"small-{uuid4().hex[:8]}"
    folder = LAYOUT.volumes / name
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", name, str(folder)], check=True)
    try:
        stack.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name},
                "spec": {
                    "capacity": {"storage": "64Mi"},
                    "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "storageClassName": name,
                    "hostPath": {"path": str(folder), "type": "Directory"},
                },
            }
        )
        yield SmallVolume(name, folder)
    finally:
        kubectl_ok("delete", "persistentvolume", name, "--wait=false", "--ignore-not-found")
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@contextmanager
def other_weights(number: int) -> Generator[list[str]]:
    """Have so many models beside the Hub's, alike but for their weights; gives their paths, as the Hub takes them."""
    home = models.models_dir() / f"others-{uuid4().hex[:8]}"
    try:
        for index in range(1, number + 1):
            folder = Path(shutil.copytree(models.models_dir() / models.TINY, home / str(index)))
            file = folder / "model.safetensors"
            weights = file.read_bytes()
            # The last byte is one of the last weight's lower ones: another file, and the same answers.
            file.write_bytes(weights[:-2] + bytes([weights[-2] ^ index, weights[-1]]))
        yield [f"{home.name}/{index}" for index in range(1, number + 1)]
    finally:
        shutil.rmtree(home, ignore_errors=True)
