"""The token file: absent, present, changed."""

from pathlib import Path

import pytest

from llama_inference.engine.token import TokenFile


@pytest.mark.parametrize(
    ("content", "token"), [(b"hf_a", "hf_a"), (b" hf_a\n", "hf_a"), (b"", None), (b"\n", None), (b"\xff\xfe", None)]
)
def test_the_token_is_the_files_text_without_white_space_around_it(
    tmp_path: Path, content: bytes, token: str | None
) -> None:
    """Secrets are often written with a new line at the end; an empty file is none."""
    (tmp_path / "token").write_bytes(content)
    assert TokenFile(tmp_path / "token").read() == token


def test_an_absent_file_is_no_token(tmp_path: Path) -> None:
    """The Secret may come later."""
    assert TokenFile(tmp_path / "token").read() is None
    assert TokenFile(None).read() is None


def test_the_wait_ends_at_once_when_the_token_changes(tmp_path: Path) -> None:
    """Also when it appears: nobody waits a minute for a corrected Secret."""
    paused: list[float] = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 2:
            (tmp_path / "token").write_text("hf_new")

    token = TokenFile(tmp_path / "token", pause=pause)
    assert token.wait(60, since=token.fingerprint()) is True
    assert len(paused) == 2


def test_the_wait_ends_after_its_time(tmp_path: Path) -> None:
    """With nothing changed, it says so."""
    paused: list[float] = []
    token = TokenFile(tmp_path / "token", pause=paused.append)
    assert token.wait(2.5, since=token.fingerprint()) is False
    assert paused == [1.0, 1.0, 0.5]


def test_the_fingerprint_says_nothing_about_the_token(tmp_path: Path) -> None:
    """It is compared, and could be logged by mistake."""
    (tmp_path / "token").write_text("hf_secret")
    assert "hf_secret" not in TokenFile(tmp_path / "token").fingerprint()
