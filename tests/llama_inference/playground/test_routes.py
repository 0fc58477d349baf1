"""The playground's files: off by default, complete, and under a policy that keeps everything else out."""

import re

import pytest

from llama_inference.routes.playground import FOLDER, MEDIA_TYPES
from tests.llama_inference.harness import Gate, Served, errors

AMONG = re.compile(r'(?:href|src)="([^"]+)"|from "\./([^"]+)"')
STYLE = (FOLDER / "style.css").read_text()
TEXT_ON_GROUND = [
    ("text", "ground"), ("text", "panel"), ("faint", "ground"), ("faint", "panel"), ("accent", "panel"),
    ("on-accent", "accent"), ("fault", "fault-ground"),
]  # fmt: skip


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read(scheme: int) -> None:
    """A contrast of at least 4.5 in both schemes (WCAG 2.2, level AA)."""
    colours = dict(
        re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", STYLE.split("@media (prefers-color-scheme: dark)")[scheme])
    )
    for text, ground in TEXT_ON_GROUND:
        low, high = sorted((luminance(colours[text]), luminance(colours[ground])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{text} on {ground}"


@pytest.mark.slow
def test_it_is_off_unless_asked_for(served: Served) -> None:
    """`/` is nothing then."""
    assert errors(served.client.get("/"))[:2] == (404, "not_found")
    assert errors(served.client.get("/playground/page.js"))[:2] == (404, "not_found")


@pytest.mark.slow
def test_every_file_is_served_with_its_type_and_the_policy(playground: tuple[Served, Gate]) -> None:
    """Each that another names is there, and none names anything outside."""
    served, _ = playground
    for path in FOLDER.iterdir():
        if path.suffix not in MEDIA_TYPES:
            continue
        name = "/" if path.name == "index.html" else f"/playground/{path.name}"
        answer = served.client.get(name)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(MEDIA_TYPES[path.suffix])
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        for there, beside in AMONG.findall(answer.text):
            assert there == "docs" or (FOLDER / (there.removeprefix("playground/") or beside)).is_file()
        assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in answer.text
