"""How the cluster's processes are started, and when anew."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from devcluster import binaries, components, starting
from devcluster.components import Component
from devcluster.layout import Layout


@pytest.fixture
def programs(tmp_path: Path) -> Mapping[str, Path]:
    """A file for each program."""
    names = components.PROGRAMS - {"server"}
    return {**{name: tmp_path / "bin" / name for name in names}, "etcd": tmp_path / "bin" / "server"}


@pytest.fixture
def table(layout: Layout, programs: Mapping[str, Path]) -> list[Component]:
    """All components, with the files that they read."""
    rows = [component for row in components.table(layout, programs) for component in row]
    for component in rows:
        for file in component.reads:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("1")
    return rows


def test_every_process_is_known_by_its_programs_name(table: list[Component]) -> None:
    """By it, one without a record is found."""
    assert {Path(component.argv[0]).name for component in table} == components.PROGRAMS


def test_every_process_names_our_folders(table: list[Component], layout: Layout) -> None:
    """By them, it is told from the same program of another cluster."""
    folders = (str(layout.state), str(layout.run))
    assert all(any(folder in word for word in component.argv for folder in folders) for component in table)


def test_no_secret_stands_on_a_command_line(table: list[Component]) -> None:
    """Keys are named by their files."""
    assert all("BEGIN" not in word for component in table for word in component.argv)


def test_a_changed_file_restarts_who_reads_it(table: list[Component], layout: Layout) -> None:
    """And nobody else."""
    before = {component.name: component.digest() for component in table}
    (layout.config / "kubelet.yaml").write_text("2")
    assert {c.name for c in table if c.digest() != before[c.name]} == {"kubelet"}


def test_new_data_in_etcd_restart_all_that_stands_on_it(table: list[Component], layout: Layout) -> None:
    """A kubelet does not register its node twice, and an API server's cache would show what is no more."""
    starting.identify_etcd(layout)
    before = {component.name: component.digest() for component in table}
    starting.identify_etcd(layout)
    unchanged = {c.name for c in table if c.digest() == before[c.name]}
    assert unchanged == {"containerd", "etcd"}


def test_data_that_are_there_keep_their_name(layout: Layout) -> None:
    """A restart of etcd restarts nobody else."""
    layout.etcd.mkdir(parents=True)
    starting.identify_etcd(layout)
    before = layout.etcd_identity.read_text()
    starting.identify_etcd(layout)
    assert layout.etcd_identity.read_text() == before


def test_a_program_that_was_not_built_is_not_looked_for(layout: Layout) -> None:
    """What to do is said instead."""
    with pytest.raises(binaries.DevclusterError) as caught:
        binaries.locate(layout)
    assert "devcluster up" in caught.value.hint
