"""Archives that containerd reads."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from devcluster.oci import archive, bundle


def read(data: bytes) -> dict[str, bytes]:
    """The files of a tar."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = [(member.name, tar.extractfile(member)) for member in tar]
        return {name: file.read() for name, file in files if file is not None}


def described(files: dict[str, bytes]) -> dict[str, Any]:
    """What the index says of the only image."""
    (manifest,) = json.loads(files["index.json"])["manifests"]
    return manifest


def test_the_same_files_make_the_same_archive() -> None:
    """Only then can it be seen that an image is loaded already."""
    first, second = (archive("a:1", {"b": b"2", "a": b"1"}, links={}, entrypoint=["/a"]) for _ in range(2))
    assert first == second


def test_an_archive_names_its_image_and_holds_all_that_it_refers_to() -> None:
    """Each blob under its digest."""
    data, digest = archive("localhost/a:1", {"bin/a": b"1"}, links={"bin/b": "a"}, entrypoint=["/bin/a"])
    files = read(data)
    assert described(files)["annotations"] == {"io.containerd.image.name": "localhost/a:1"}
    assert described(files)["digest"] == digest
    blobs = {name: content for name, content in files.items() if name.startswith("blobs/")}
    assert all(name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}" for name, content in blobs.items())
    manifest = json.loads(files[f"blobs/{digest.replace(':', '/')}"])
    referred = [manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
    assert {f"blobs/{one.replace(':', '/')}" for one in (digest, *referred)} == set(blobs)


def test_what_the_reader_holds_is_left_out_of_a_bundle(tmp_path: Path) -> None:
    """A change of code hands over a few kilobytes and not all layers below it."""
    contents = {"config": b"c", "packages": b"large" * 1000, "code": b"small"}
    digests = {name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in contents.items()}
    for name, content in contents.items():
        (tmp_path / digests[name].partition(":")[2]).write_bytes(content)
    layers = [{"digest": digests["packages"]}, {"digest": digests["code"]}]
    manifest = json.dumps({"config": {"digest": digests["config"]}, "layers": layers}).encode()
    out = io.BytesIO()
    size = bundle("a:1", manifest, tmp_path, {digests["packages"]}, out)
    files = read(out.getvalue())
    assert size == len(contents["config"]) + len(contents["code"])
    assert files[f"blobs/{digests['code'].replace(':', '/')}"] == b"small"
    assert f"blobs/{digests['packages'].replace(':', '/')}" not in files
    assert files[f"blobs/{described(files)['digest'].replace(':', '/')}"] == manifest
