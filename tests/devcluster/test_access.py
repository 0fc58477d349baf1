"""What the machine knows of package registries is told to a build, and nothing else."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from devcluster.access import access, files, settings

INDEX = "https://packages.example/simple"
OTHER = "https://other.example/simple"


def test_pips_variables_are_stronger_than_its_files() -> None:
    """The later file is stronger than the earlier, and install's section than the general one."""
    texts = [
        "[global]\nindex-url = https://first.example\ntimeout = 5\n",
        f"[global]\nindex_url = https://second.example\n[install]\nindex-url = {OTHER}\n",
    ]
    assert settings(texts, {}) == {"index-url": OTHER, "timeout": "5"}
    assert settings(texts, {"PIP_INDEX_URL": INDEX})["index-url"] == INDEX


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"UV_DEFAULT_INDEX": INDEX}, {"index-url": INDEX}),
        ({"UV_INDEX": f"mine={INDEX} {OTHER}?a=b"}, {"extra-index-url": f"{INDEX} {OTHER}?a=b"}),
        ({"UV_INDEX_URL": INDEX, "PIP_INDEX_URL": OTHER}, {"index-url": OTHER}),
        ({"SSL_CERT_FILE": "/ca.pem"}, {"cert": "/ca.pem"}),
        ({"SSL_CERT_FILE": "/ca.pem", "PIP_CERT": "/pip.pem"}, {"cert": "/pip.pem"}),
    ],
)
def test_what_uv_is_told_holds_where_pip_is_told_nothing(
    environ: Mapping[str, str], expected: Mapping[str, str]
) -> None:
    """A machine may know only one of the two."""
    assert settings([], environ) == expected


def test_what_is_the_machines_own_affair_stays_outside() -> None:
    """Where it keeps its cache, or installs to, means nothing in a build."""
    assert settings(["[global]\ncache-dir = /c\ntarget = /t\nrequire-virtualenv = yes\n"], {"PIP_TARGET": "/t"}) == {}


def test_local_files_that_are_there_are_mounted(tmp_path: Path) -> None:
    """Those that are not there would make pip fail, or warn."""
    certificate, wheels, empty = tmp_path / "ca.pem", tmp_path / "wheels", tmp_path / "empty"
    certificate.touch()
    empty.mkdir()
    wheels.mkdir()
    (wheels / "a.whl").touch()
    found = access(
        {"cert": str(certificate), "find-links": f"{wheels} {empty} {OTHER}", "client-cert": "/nowhere", "timeout": "9"}
    )
    assert found.paths == (certificate, wheels)
    assert found.pip_conf == f"[global]\ncert = {certificate}\nfind-links = {wheels} {OTHER}\ntimeout = 9\n"


def test_pips_files_are_looked_for_where_pip_does() -> None:
    """The machine's, the user's, and the one that is named."""
    found = files({"HOME": "/home/me", "PIP_CONFIG_FILE": "/etc/mine.conf"})
    assert [str(file) for file in found] == [
        "/etc/xdg/pip/pip.conf",
        "/etc/pip.conf",
        "/home/me/.pip/pip.conf",
        "/home/me/.config/pip/pip.conf",
        "/etc/mine.conf",
    ]
