"""Write images as OCI archives: one of a few files, for which no builder is needed, or one that a builder exported."""

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def _tar(files: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
    """A reproducible tar: sorted, without owners or times."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
        for name, target in sorted(links.items()):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
            archive.addfile(info)
    return out.getvalue()


def _sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _descriptor(kind: str, data: bytes, **more: object) -> dict[str, Any]:
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": _sha256(data), "size": len(data), **more}


def archive(
    name: str, files: Mapping[str, bytes], *, links: Mapping[str, str], entrypoint: list[str]
) -> tuple[bytes, str]:
    """Make an image of one layer.

    Args:
        name: Its reference, with a tag.
        files: Path → content; all can be executed.
        links: Path → target.
        entrypoint: What it runs.

    Returns:
        The OCI archive, and the digest of the manifest in it. The same arguments give the same bytes.
    """
    layer = _tar(files, links)
    packed = gzip.compress(layer, compresslevel=1, mtime=0)
    machine = platform.machine()
    config = json.dumps(
        {
            "architecture": ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [_sha256(layer)]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("config.v1+json", config),
            "layers": [_descriptor("layer.v1.tar+gzip", packed)],
        }
    ).encode()
    blobs = {_blob(_sha256(data)): data for data in (packed, config, manifest)}
    return _tar({**_heads(name, manifest), **blobs}, {}), _sha256(manifest)


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _heads(name: str, manifest: bytes) -> dict[str, bytes]:
    """The two files that tell what an archive holds."""
    named = _descriptor("manifest.v1+json", manifest, annotations={"io.containerd.image.name": name})
    index = {"schemaVersion": 2, "manifests": [named]}
    return {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps(index).encode(),
    }


def bundle(name: str, manifest: bytes, blobs: Path, present: Collection[str], out: BinaryIO) -> int:
    """Write an exported image as an OCI archive to out.

    Args:
        name: The image's reference, with a tag.
        manifest: What it consists of.
        blobs: Where that lies, each blob in a file named by its digest's hexadecimal digits.
        present: Digests of blobs that the reader has already; they are left out.
        out: Is written once, from front to back.

    Returns:
        How many bytes of blobs were not left out.
    """
    described = json.loads(manifest)
    digests = dict.fromkeys(part["digest"] for part in (described["config"], *described["layers"]))
    written = 0
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path, data in {**_heads(name, manifest), _blob(_sha256(manifest)): manifest}.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for digest in digests:
            if digest not in present:
                file = blobs / digest.partition(":")[2]
                archive.add(file, arcname=_blob(digest))
                written += file.stat().st_size
    return written
