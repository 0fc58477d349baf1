"""Read the Hub's answers: a listing, config.json and what else tells of a model into facts. Pure.

All come from outside, written by whoever owns the repository: what is not as expected is left out, never trusted.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from llama_operator.plan import hub_shapes
from llama_operator.plan.hub_shapes import shown
from llama_operator.plan.survey import HubRefusal, ModelFact, ModelShape

_Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
_Word = Annotated[str, Field(max_length=255)]
_WEIGHTS: Final = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
_SMALL: Final = re.compile(r"[^/]*\.(json|model|txt|jinja)")
_MOST_ELEMENTS: Final = 2**31 - 1


def _or_none(kind: type) -> BeforeValidator:
    """Take a value of another type for none at all."""
    return BeforeValidator(lambda value: value if isinstance(value, kind) and not isinstance(value, bool) else None)


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Lfs(_Part):
    size: _Count


class _Sibling(_Part):
    rfilename: Annotated[str, Field(max_length=4096)]
    size: _Count | None = None
    lfs: _Lfs | None = None

    @property
    def bytes(self) -> int:
        return self.lfs.size if self.lfs else self.size or 0


class _Safetensors(_Part):
    parameters: Annotated[dict[_Word, _Count], Field(max_length=64)] = {}


class Listing(_Part):
    """The part of `/api/models/NAME/revision/REVISION?blobs=true` that counts here."""

    commit: Annotated[str, Field(pattern="^[0-9a-f]{40}$", alias="sha")]
    gated: bool | _Word = False
    card: Annotated[dict[str, Any] | None, _or_none(dict)] = Field(default=None, alias="cardData")
    tags: Annotated[list[str] | None, _or_none(list)] = None
    safetensors: Annotated[_Safetensors | None, _or_none(dict)] = None
    siblings: Annotated[list[_Sibling], Field(max_length=100_000)] = []

    @property
    def names(self) -> frozenset[str]:
        """The files of the revision."""
        return frozenset(row.rfilename for row in self.siblings)

    @property
    def refusal(self) -> HubRefusal | None:
        """The refusal of a revision that is nothing to serve; None if it is."""
        return hub_shapes.refusal(self.names, self.card or {})

    def size(self, name: str) -> int:
        """Return the bytes of a file; 0 where the listing does not say."""
        return next((row.bytes for row in self.siblings if row.rfilename == name), 0)

    @property
    def licence(self) -> str | None:
        """The licence of the model card; one of the owner's own goes by its name."""
        card = self.card or {}
        written = card.get("license_name") if card.get("license") == "other" else card.get("license")
        if isinstance(written, str) and written:
            return shown(written)
        tags = (tag.removeprefix("license:") for tag in self.tags or () if tag.startswith("license:"))
        return shown(next(tags, "")) or None


_Whole = Annotated[int | None, _or_none(int)]


class _Config(_Part):
    """The part of config.json that counts here, by the names that transformers gives it."""

    model_type: Annotated[str | None, _or_none(str)] = None
    architectures: Annotated[list[Any] | None, _or_none(list)] = None
    num_hidden_layers: _Whole = None
    num_attention_heads: _Whole = None
    num_key_value_heads: _Whole = None
    hidden_size: _Whole = None
    head_dim: _Whole = None
    max_position_embeddings: _Whole = None
    dtype: Annotated[str | None, _or_none(str)] = None
    torch_dtype: Annotated[str | None, _or_none(str)] = None
    quantization_config: Annotated[dict[str, Any] | None, _or_none(dict)] = None


def read_listing(body: bytes) -> Listing:
    """Return a listing.

    Raises:
        ValueError: if it is none.
    """
    return Listing.model_validate_json(body)


def fact(listing: Listing, config: Mapping[str, Any], tokenizer_config: Mapping[str, Any] | None = None) -> ModelFact:
    """Return the facts of a revision; `tokenizer_config` is None where it has none, or was not read."""
    weights = sum(row.bytes for row in listing.siblings if _WEIGHTS.fullmatch(row.rfilename))
    template = hub_shapes.has_template_file(listing.names) or bool((tokenizer_config or {}).get("chat_template"))
    unread = tokenizer_config is None and hub_shapes.TOKENIZER_CONFIG in listing.names
    return ModelFact(
        commit=listing.commit,
        gated=bool(listing.gated),
        licence=listing.licence,
        parameters=listing.safetensors.parameters if listing.safetensors else {},
        weight_bytes=weights,
        total_bytes=weights + sum(row.bytes for row in listing.siblings if _SMALL.fullmatch(row.rfilename)),
        shape=shape(config),
        embeds=hub_shapes.embeds(listing.names),
        chat_template=None if unread and not template else template,
    )


def read_object(body: bytes, name: str, commit: str) -> dict[str, Any] | HubRefusal:
    """Return the JSON object in a file; a refusal if it holds none, for that is the repository's fault."""
    try:
        found = json.loads(body)
    except ValueError:
        return HubRefusal(reason="BrokenRepository", words=f"{name} at commit {commit[:12]} is not valid JSON")
    if not isinstance(found, dict):
        return HubRefusal(reason="BrokenRepository", words=f"{name} at commit {commit[:12]} is no JSON object")
    return cast("dict[str, Any]", found)


def missing_shard(listing: Listing, index: Mapping[str, Any]) -> HubRefusal | None:
    """Return the refusal of an index of shards that the commit does not have all of; None if it has."""
    rows = index.get("weight_map")
    shards: set[object] = set(cast("dict[str, object]", rows).values()) if isinstance(rows, dict) else set()
    named = {name for name in shards if isinstance(name, str)}
    if not named or len(named) < len(shards):
        words = f"{hub_shapes.INDEX} at commit {listing.commit[:12]} is no index of shards"
        return HubRefusal(reason="BrokenRepository", words=words)
    if not (absent := sorted(named - listing.names)):
        return None
    more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
    words = f"{hub_shapes.INDEX} names {absent[0]}{more}, which commit {listing.commit[:12]} does not have"
    return HubRefusal(reason="BrokenRepository", words=shown(words))


def shape(config: Mapping[str, Any]) -> ModelShape:
    """Return what a config.json says of a model."""
    rows = _Config.model_validate(config)
    heads, hidden = _positive(rows.num_attention_heads), _positive(rows.hidden_size)
    quantization = rows.quantization_config
    return ModelShape(
        model_type=shown(rows.model_type) if rows.model_type else None,
        architectures=tuple(shown(str(name)) for name in (rows.architectures or ())[:8]),
        layers=_positive(rows.num_hidden_layers),
        kv_heads=_positive(rows.num_key_value_heads) or heads,
        head_dim=_positive(rows.head_dim) or (hidden // heads if hidden and heads else None),
        context=_positive(rows.max_position_embeddings),
        dtype=shown(rows.dtype or rows.torch_dtype or "") or None,
        quantization=shown(str(quantization.get("quant_method", "unnamed"))) if quantization else None,
    )


def _positive(value: int | None) -> int | None:
    return value if value is not None and 0 < value <= _MOST_ELEMENTS else None
