"""Which images are of no more use."""

from devcluster.containerd import outdated

DIGESTS = {
    "localhost/app:new": "sha256:1",
    "localhost/app:old": "sha256:2",
    "localhost/app:used": "sha256:3",
    "localhost/other:old": "sha256:4",
    "sha256:aa": "sha256:1",
    "sha256:bb": "sha256:2",
    "sha256:cc": "sha256:3",
    "sha256:dd": "sha256:4",
}


def test_an_earlier_build_goes_with_its_second_name() -> None:
    """The one the CRI gave it would keep its layers; what is current, what a container runs and others' images stay."""
    assert outdated(DIGESTS, current=["localhost/app:new"], used=["localhost/app:used"]) == [
        "localhost/app:old",
        "sha256:bb",
    ]


def test_two_names_of_one_image_are_one_image() -> None:
    """As long as one of them is kept, so is its content."""
    digests = {"localhost/app:new": "sha256:1", "localhost/app:old": "sha256:1", "sha256:aa": "sha256:1"}
    assert outdated(digests, current=["localhost/app:new"], used=[]) == ["localhost/app:old"]
