"""A model as an OCI image, on the development cluster's node, as a registry would have given it."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from devcluster import containerd, oci
from tests.support.devcluster import LAYOUT, devcluster


def unused_reference() -> str:
    """A reference that nothing else has."""
    return f"localhost/model-{uuid4().hex[:8]}:v1"


@contextmanager
def on_the_node(reference: str, files: Path, *, path: str) -> Generator[None]:
    """Have an image of this name on the node, that holds the files of a folder in its own folder `path`."""
    content = {f"{path}/{file.name}": file.read_bytes() for file in files.iterdir() if file.is_file()}
    data, _ = oci.archive(reference, content, links={}, entrypoint=[])
    file = LAYOUT.state / f"{uuid4().hex}.tar"
    try:
        file.write_bytes(data)
        devcluster("load", str(file))
        yield
    finally:
        file.unlink(missing_ok=True)
        containerd.ctr(LAYOUT, "images", "remove", reference)
