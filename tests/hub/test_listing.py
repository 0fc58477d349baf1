"""What a repository holds, as the true client reads it."""

import json
import subprocess
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile, RepoFolder

from tests.hub.conftest import FILES, REPO
from tests.support.hub import HubServer


def api(hub: HubServer) -> HfApi:
    """The client's API, without any token of this machine."""
    return HfApi(endpoint=hub.url, token=False)


def test_model_info_names_the_commit_and_the_files(hub: HubServer) -> None:
    """Hidden files are no part of the repository; sizes come only when asked for."""
    info = api(hub).model_info(REPO)
    assert info.sha == hub.repos[REPO].refs["main"]
    assert info.siblings is not None
    assert [file.rfilename for file in info.siblings] == sorted(FILES)
    assert {file.size for file in info.siblings} == {None}


def test_files_metadata_tells_sizes_and_hashes(hub: HubServer, folder: Path) -> None:
    """Weights have the SHA-256 of their content, small files the id that git gives them."""
    info = api(hub).model_info(REPO, files_metadata=True)
    found = {file.rfilename: file for file in info.siblings or ()}
    assert {name: file.size for name, file in found.items()} == {name: len(text) for name, text in FILES.items()}
    git = subprocess.run(["git", "hash-object", folder / "config.json"], check=True, capture_output=True, text=True)
    assert (found["config.json"].blob_id, found["config.json"].lfs) == (git.stdout.strip(), None)
    sha256 = subprocess.run(["sha256sum", folder / "model.safetensors"], check=True, capture_output=True, text=True)
    lfs = found["model.safetensors"].lfs
    assert lfs is not None
    assert (lfs.sha256, lfs.size) == (sha256.stdout.split()[0], len(FILES["model.safetensors"]))


def test_a_tree_is_listed_by_level_or_as_a_whole(hub: HubServer) -> None:
    """One level tells folders; recursively, their files come as well."""
    level = {entry.path: type(entry) for entry in api(hub).list_repo_tree(REPO)}
    assert level == {"config.json": RepoFile, "model.safetensors": RepoFile, "notes": RepoFolder}
    whole = {entry.path for entry in api(hub).list_repo_tree(REPO, recursive=True) if isinstance(entry, RepoFile)}
    assert whole == set(FILES)
    assert [entry.path for entry in api(hub).list_repo_tree(REPO, "notes")] == ["notes/read me.md"]


def test_a_branch_moves_and_its_former_commit_stays(hub: HubServer, tmp_path: Path) -> None:
    """A revision is a branch or a commit; the same content is the same commit."""
    (tmp_path / "config.json").write_text("{}")
    first = hub.repos[REPO].refs["main"]
    second = hub.add_revision(REPO, "main", tmp_path)
    assert second != first
    assert second == hub.add_revision(REPO, "refs/pr/1", tmp_path)
    assert api(hub).model_info(REPO).sha == second
    assert api(hub).model_info(REPO, revision="refs/pr/1").sha == second
    assert api(hub).model_info(REPO, revision=first).sha == first


def test_a_missing_revision_is_told_from_a_missing_repository(hub: HubServer) -> None:
    """404 with the code that the client makes RevisionNotFoundError of."""
    with pytest.raises(RevisionNotFoundError) as caught:
        api(hub).model_info(REPO, revision="v2")
    assert caught.value.response.status_code == 404


def test_model_info_counts_the_parameters_and_tells_the_licence(hub: HubServer, tmp_path: Path) -> None:
    """Over all files, by type; what is not in a safetensors file counts nothing."""
    for number, shapes in enumerate(({"a": [4, 8], "b": [8]}, {"c": [2, 2]})):
        tensors = {name: {"dtype": "F16", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
        header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
        (tmp_path / f"model-{number}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    (tmp_path / "config.json").write_text("{}")
    hub.add_repo("acme/counted", tmp_path, licence="llama2")
    info = api(hub).model_info("acme/counted")
    assert info.safetensors is not None
    assert (dict(info.safetensors.parameters), info.safetensors.total) == ({"F16": 44}, 44)
    assert info.card_data is not None
    assert info.card_data.license == "llama2"
    assert "license:llama2" in (info.tags or ())


def test_a_repository_of_unknown_licence_and_weights_says_neither(hub: HubServer) -> None:
    """The keys are absent or empty, as for an upload without a model card."""
    info = api(hub).model_info(REPO)
    assert info.safetensors is None
    assert info.card_data is None
