"""What a repository is that people name by mistake: an adapter, another format, several models, no model at all. Pure.

Told from the listing, before anything is fetched; each with what to name instead.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from llama_operator.plan.survey import HubRefusal

CONFIG: Final = "config.json"
SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
ADAPTER: Final = "adapter_config.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
VOCABULARIES: Final = frozenset({"tokenizer.json", "tokenizer.model", "vocab.json"})
"""Files of which a server needs one; the same that it downloads."""
_SHARD: Final = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_OTHERS: Final = (".gguf", ".safetensors", ".bin", ".pt", ".pth")
_TEMPLATES: Final = re.compile(r"chat_template\.(jinja|json)|additional_chat_templates/.*")
_REPO: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_PRINTABLE: Final = re.compile(r"[^ -~]")


def shown(text: str) -> str:
    """Cut down what a repository's owner wrote to something that may stand in a status."""
    return _PRINTABLE.sub("", text)[:200]


def is_adapter(names: Collection[str]) -> bool:
    """Whether there is an adapter and no model to put it on."""
    return ADAPTER in names and SINGLE not in names and INDEX not in names


def has_template_file(names: Collection[str]) -> bool:
    """Whether a file of its own says how messages are rendered."""
    return any(map(_TEMPLATES.fullmatch, names))


def embeds(names: Collection[str]) -> bool:
    """Whether it is to be used by sentence-transformers, whose models make vectors of texts."""
    return {"modules.json", "config_sentence_transformers.json"} <= set(names)


def refusal(names: Collection[str], card: Mapping[str, Any]) -> HubRefusal | None:
    """Return why a revision with these files is nothing to serve; None if it is, as far as names tell."""
    if SINGLE not in names and INDEX not in names:
        return _without_weights(names, card)
    if CONFIG not in names:
        return HubRefusal(reason="UnsupportedArchitecture", words=f"it has no {CONFIG}")
    if not VOCABULARIES.intersection(names):
        return HubRefusal(reason="NoTokenizer", words="none of tokenizer.json, tokenizer.model and vocab.json")
    return None


def _without_weights(names: Collection[str], card: Mapping[str, Any]) -> HubRefusal:
    if "model_index.json" in names:
        return HubRefusal(reason="NotAModel", words="a pipeline of diffusers, which makes pictures")
    if any(map(_SHARD.fullmatch, names)):
        return HubRefusal(reason="BrokenRepository", words=f"it has shards of weights, and no {INDEX} that names them")
    # By the root's files first: what stands in folders besides is another copy.
    root = sorted(name for name in names if "/" not in name and name.endswith(_OTHERS))
    folders = sorted({name.rpartition("/")[0] for name in names if name.endswith(f"/{SINGLE}")})
    if folders and not root:
        fix = "name in spec.model.repo a repository with one model, which has its files at its root"
        return HubRefusal(reason="NotAModel", words=shown(f"models in folders ({', '.join(folders[:3])})"), fix=fix)
    others = root or sorted(name for name in names if name.endswith(_OTHERS))
    words = shown(f"only {', '.join(others[:3])}" if others else "no weights at all")
    return HubRefusal(reason="NoSafetensors", words=words, fix=_made_from(others, card))


def _made_from(files: Collection[str], card: Mapping[str, Any]) -> str:
    """Return what to name instead of files of llama.cpp, which are made from a model that a server could load."""
    if not files or not all(name.endswith(".gguf") for name in files):
        return ""
    base = card.get("base_model")
    first = next(iter(cast("list[Any]", base)), None) if isinstance(base, list) else base
    made_from = (
        first if isinstance(first, str) and _REPO.fullmatch(first) else "the repository that they were made from"
    )
    return f"GGUF is llama.cpp's own format; name {made_from} in spec.model.repo"


def adapter(config: Mapping[str, Any]) -> HubRefusal:
    """Return what an adapter is for, by its adapter_config.json (of the library peft)."""
    kind, base = config.get("peft_type"), config.get("base_model_name_or_path")
    what = f"an adapter ({shown(kind)})" if isinstance(kind, str) else "an adapter"
    if isinstance(base, str) and _REPO.fullmatch(base):
        fix = f"name {base} in spec.model.repo, or a repository that holds the two merged (merge_and_unload of peft)"
        return HubRefusal(reason="NotAModel", words=f"{what} for {base}", fix=fix)
    fix = "name in spec.model.repo the model that it was trained on, or a repository that holds the two merged"
    return HubRefusal(reason="NotAModel", words=what, fix=fix)


def of_another_kind(kind: str) -> HubRefusal:
    """Return that a name is that of a dataset or a space."""
    return HubRefusal(reason="NotAModel", words=f"a {kind}", fix="name a repository of a model in spec.model.repo")
