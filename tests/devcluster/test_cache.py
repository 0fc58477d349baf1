"""What was built is kept, and only what is whole."""

from pathlib import Path

import pytest

from devcluster.cache import build_once, digest, digest_files, workspace


class KilledError(Exception):
    """The end of a build that does not come to its own."""


def write(partial: Path) -> None:
    """A build of one file."""
    (partial / "program").write_text("whole")


def test_a_build_is_done_once(tmp_path: Path) -> None:
    """The second time there is nothing to do."""
    assert build_once(tmp_path / "key", write)
    assert not build_once(tmp_path / "key", write)
    assert (tmp_path / "key" / "program").read_text() == "whole"


def test_a_build_that_was_killed_is_not_taken_for_whole(tmp_path: Path) -> None:
    """The next one starts from nothing."""

    def dies(partial: Path) -> None:
        (partial / "half").write_text("half")
        raise KilledError

    with pytest.raises(KilledError):
        build_once(tmp_path / "key", dies)
    assert not (tmp_path / "key").exists()
    assert build_once(tmp_path / "key", write)
    assert [file.name for file in (tmp_path / "key").iterdir()] == ["program"]


def test_where_parts_meet_matters() -> None:
    """The same letters, parted elsewhere, are another content."""
    assert digest("a", "bc") != digest("ab", "c")


def test_files_are_named_by_path_content_and_whether_they_run(tmp_path: Path) -> None:
    """A change of any of the three is another key."""
    file = tmp_path / "file"
    file.write_text("text")
    file.chmod(0o644)
    keys = {digest_files(tmp_path, [file])}
    file.chmod(0o755)
    keys.add(digest_files(tmp_path, [file]))
    file.write_text("other")
    keys.add(digest_files(tmp_path, [file]))
    file = file.rename(tmp_path / "renamed")
    keys.add(digest_files(tmp_path, [file]))
    assert len(keys) == 4


def test_a_workspace_starts_and_ends_with_nothing(tmp_path: Path) -> None:
    """Also after one that was left behind, and after one that failed."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "left").touch()

    def fail() -> None:
        with workspace(tmp_path / "work") as work:
            assert list(work.iterdir()) == []
            (work / "file").touch()
            raise KilledError

    with pytest.raises(KilledError):
        fail()
    assert not (tmp_path / "work").exists()
