"""Read the Hub's answers: a listing and a config.json into facts, an error into a refusal. Pure.

Both come from outside, written by whoever owns the repository: what is not as expected is left out, never trusted.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from llama_operator.plan.survey import HubRefusal, ModelFact, ModelShape

_Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
_Word = Annotated[str, Field(max_length=255)]
_SINGLE: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_WEIGHTS: Final = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
_SMALL: Final = re.compile(r"[^/]*\.(json|model|txt|jinja)")
_MOST_ELEMENTS: Final = 2**31 - 1
_PRINTABLE: Final = re.compile(r"[^ -~]")


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
    def without_weights(self) -> HubRefusal | None:
        """The refusal of a revision that has nothing to load; None if it has."""
        names = [row.rfilename for row in self.siblings]
        if _SINGLE in names or _INDEX in names:
            return None
        others = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth", ".gguf")))[:3]
        words = f"only {', '.join(others)}" if others else "no weights at all"
        return HubRefusal(reason="NoSafetensors", words=_shown(words))

    @property
    def licence(self) -> str | None:
        """The licence of the model card; one of the owner's own goes by its name."""
        card = self.card or {}
        written = card.get("license_name") if card.get("license") == "other" else card.get("license")
        if isinstance(written, str) and written:
            return _shown(written)
        tags = (tag.removeprefix("license:") for tag in self.tags or () if tag.startswith("license:"))
        return _shown(next(tags, "")) or None


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


def fact(listing: Listing, config: bytes) -> ModelFact:
    """Return the facts of a revision.

    Raises:
        ValueError: if `config` is no JSON object.
    """
    weights = sum(row.bytes for row in listing.siblings if _WEIGHTS.fullmatch(row.rfilename))
    return ModelFact(
        commit=listing.commit,
        gated=bool(listing.gated),
        licence=listing.licence,
        parameters=listing.safetensors.parameters if listing.safetensors else {},
        weight_bytes=weights,
        total_bytes=weights + sum(row.bytes for row in listing.siblings if _SMALL.fullmatch(row.rfilename)),
        shape=shape(config),
    )


def shape(config: bytes) -> ModelShape:
    """Return what a config.json says of a model.

    Raises:
        ValueError: if it is no JSON object.
    """
    rows = _Config.model_validate_json(config)
    heads, hidden = _positive(rows.num_attention_heads), _positive(rows.hidden_size)
    quantization = rows.quantization_config
    return ModelShape(
        model_type=_shown(rows.model_type) if rows.model_type else None,
        architectures=tuple(_shown(str(name)) for name in (rows.architectures or ())[:8]),
        layers=_positive(rows.num_hidden_layers),
        kv_heads=_positive(rows.num_key_value_heads) or heads,
        head_dim=_positive(rows.head_dim) or (hidden // heads if hidden and heads else None),
        context=_positive(rows.max_position_embeddings),
        dtype=_shown(rows.dtype or rows.torch_dtype or "") or None,
        quantization=_shown(str(quantization.get("quant_method", "unnamed"))) if quantization else None,
    )


def _positive(value: int | None) -> int | None:
    return value if value is not None and 0 < value <= _MOST_ELEMENTS else None


def _shown(text: str) -> str:
    """Cut down what a repository's owner wrote to something that may stand in a status."""
    return _PRINTABLE.sub("", text)[:200]


Page = Literal["listing", "config"]


_BY_CODE: Final[Mapping[str | None, HubRefusal]] = {
    "RepoNotFound": HubRefusal(reason="RepositoryNotFound", words="no such repository"),
    "RevisionNotFound": HubRefusal(reason="RevisionNotFound", words="no such revision"),
    "EntryNotFound": HubRefusal(reason="UnsupportedArchitecture", words="it has no config.json"),
}


def refusal(status: int, code: str | None, *, page: Page, token_given: bool) -> HubRefusal:
    """Return what an answer other than 200 means; `code` is its X-Error-Code.

    The API pages of a gated repository are public and look at the token first; its files are not, and look at the gate
    first. So a wrong token is known from the listing, and a missing grant from the config.
    """
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code == "GatedRepo" or status == HTTPStatus.FORBIDDEN:
        return _gated(status, token_given=token_given)
    if status == HTTPStatus.NOT_FOUND:
        return _BY_CODE["RepoNotFound"]
    if status == HTTPStatus.UNAUTHORIZED and page == "listing" and not token_given:
        # A repository that does not exist looks the same, so that private ones stay hidden.
        return _BY_CODE["RepoNotFound"]
    if status == HTTPStatus.UNAUTHORIZED:
        return _gated(status, token_given=token_given)
    return HubRefusal(reason="HubUnreachable", words=f"it answers with status {status}")


def _gated(status: int, *, token_given: bool) -> HubRefusal:
    if not token_given:
        return HubRefusal(reason="TokenMissing", words="its files are for accounts that were let in")
    if status == HTTPStatus.UNAUTHORIZED:
        return HubRefusal(reason="TokenRejected", words="the token is not valid")
    return HubRefusal(reason="AccessDenied", words="the account was not let in")


def error_code(headers: Mapping[str, str]) -> str | None:
    """Return the Hub's own word for an error."""
    return headers.get("X-Error-Code")
