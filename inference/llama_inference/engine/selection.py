"""Which files of a repository are a model, pure: safetensors and what configures them, never code or pickles."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from llama_inference.errors import LoadError, LoadReason

CONFIG: Final = "config.json"
SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
ADAPTER: Final = "adapter_config.json"
BESIDE: Final = frozenset(
    {
        CONFIG, "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a commit.

    Attributes:
        path: inside the repository.
        size: in bytes.
        key: the name of its content, see `engine.content`; its blob in the cache has this name.
    """

    path: str
    size: int
    key: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of one commit."""

    commit: str
    files: Mapping[str, RemoteFile]


def first_files(listing: Listing) -> tuple[str, ...]:
    """The small files that decide the rest: the configuration, and the index of the shards if there are shards.

    Raises:
        LoadError: NotAModel for an adapter, NoSafetensors, or LoadFailed for a repository without configuration.
    """
    if SINGLE not in listing.files and INDEX not in listing.files:
        if ADAPTER in listing.files:
            message = (
                f"commit {listing.commit} holds an adapter (LoRA) and no model: name in spec.model.repo the model that "
                "it was trained on, or a repository that holds the two merged"
            )
            raise LoadError(LoadReason.NOT_A_MODEL, message)
        others = sorted(path for path in listing.files if path.endswith((".bin", ".pt", ".pth", ".gguf")))[:3]
        seen = f"only {', '.join(others)}" if others else "no weights"
        message = (
            f"commit {listing.commit} has neither {SINGLE} nor {INDEX}, but {seen}: choose a repository or revision "
            "with safetensors weights in transformers' layout; other formats can hold code and are not loaded"
        )
        raise LoadError(LoadReason.NO_SAFETENSORS, message)
    if CONFIG not in listing.files:
        raise LoadError(
            LoadReason.LOAD_FAILED,
            f"commit {listing.commit} has no {CONFIG}, so it is no transformers model: choose another revision",
        )
    return (CONFIG,) if SINGLE in listing.files else (CONFIG, INDEX)


def select(listing: Listing, shards: Iterable[str]) -> tuple[RemoteFile, ...]:
    """Return what to download, small files first; `shards` are the names in the index, empty for a single file.

    Raises:
        LoadError: BrokenRepository when the index names a file that the commit does not have.
    """
    weights = (SINGLE,) if SINGLE in listing.files else (INDEX, *sorted(set(shards)))
    missing = [path for path in weights if path not in listing.files]
    if missing:
        message = f"{INDEX} names {missing[0]}, which commit {listing.commit} does not have: choose another revision"
        raise LoadError(LoadReason.BROKEN_REPOSITORY, message)
    beside = sorted(path for path in listing.files if path in BESIDE)
    templates = sorted(path for path in listing.files if path.startswith("additional_chat_templates/"))
    chosen = [listing.files[path] for path in dict.fromkeys((*beside, *templates, *weights))]
    return tuple(sorted(chosen, key=lambda file: file.size))
