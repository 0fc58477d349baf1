"""The base is this machine's own distribution, fetched the way the machine does."""

import pytest

from devcluster import base
from devcluster.errors import DevclusterError

TARGETS = """\
http://mirror.example/debian/|bookworm|main|Debian
http://mirror.example/debian/|bookworm-updates|main|Debian
http://mirror.example/security/|bookworm-security|main|Debian
http://mirror.example/debian/|bookworm-backports|main|Debian
http://tools.example/|nodistro|main|. nodistro
http://tools.example/|bookworm|stable|Docker
"""


def test_the_machines_own_mirrors_are_used() -> None:
    """With updates and security fixes; neither backports nor other makers' packages."""
    lines = base.sources(TARGETS, "bookworm")
    assert [line.split(maxsplit=2)[2] for line in lines] == [
        "http://mirror.example/debian/ bookworm main",
        "http://mirror.example/debian/ bookworm-updates main",
        "http://mirror.example/security/ bookworm-security main",
    ]
    assert {line.split()[1] for line in lines} == {"[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"}


def test_a_proxy_that_the_machine_needs_is_used() -> None:
    """And nothing of apt's settings beside it."""
    dump = 'APT "";\nAcquire::http "";\nAcquire::http::Proxy "http://proxy:3128";\nAcquire::Languages "";\n'
    assert base.connection(dump) == ['Acquire::http::Proxy "http://proxy:3128";']


@pytest.mark.parametrize("text", ["ID=debian\nVERSION_CODENAME=bookworm\n", 'VERSION_CODENAME="bookworm"\n'])
def test_the_distribution_says_its_name(text: str) -> None:
    """With or without quotes."""
    assert base.codename(text) == "bookworm"


def test_another_distribution_is_refused_with_what_would_do() -> None:
    """Its packages cannot be fetched by Debian's tools."""
    with pytest.raises(DevclusterError) as caught:
        base.codename("ID=arch\nVERSION_CODENAME=\n")
    assert "Debian and Ubuntu" in caught.value.report()


def test_each_distribution_and_machine_has_a_base_of_its_own() -> None:
    """The key tells them apart."""
    assert len({base.key("bookworm", "x86_64"), base.key("trixie", "x86_64"), base.key("trixie", "aarch64")}) == 3
