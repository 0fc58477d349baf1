"""Why a Hub gives no model, as sentences that name what to mend and how: for preflight, and for the words of pods."""

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from llama_operator.plan.observed import SecretFact
from llama_operator.plan.source import token_secret
from llama_operator.spec.model import LlamaDeploymentSpec


@dataclass(frozen=True, slots=True)
class Case:
    """What a sentence needs to name: the spec, what is known of the Secret, and the words of whoever asked.

    `fix` is what to do, where whoever asked has found out; empty where the reason alone says it.
    """

    spec: LlamaDeploymentSpec
    fact: SecretFact | None
    words: str
    fix: str = ""

    @property
    def model(self) -> str:
        """What was asked for."""
        return f"{self.spec.model.repo} at {self.spec.model.revision}"

    @property
    def elsewhere(self) -> str:
        """How to ask another Hub."""
        given = self.spec.model.endpoint is not None
        return "correct spec.model.endpoint" if given else "name a mirror in spec.model.endpoint"

    @property
    def secret(self) -> str:
        """Where the token is."""
        name, key = token_secret(self.spec)
        return f"Secret {name}, key {key}"

    @property
    def command(self) -> str:
        """How to make the Secret."""
        name, key = token_secret(self.spec)
        return f"kubectl create secret generic {name} --from-file={key}=FILE"

    @property
    def hub(self) -> str:
        """Which Hub."""
        endpoint = self.spec.model.endpoint
        return f"the Hub at {endpoint}" if endpoint else "the Hub"


def without_key(name: str, key: str, keys: Collection[str]) -> str:
    """Return that a Secret lacks the token's key, with the one that was probably meant: names are no secrets."""
    if (meant := _meant(key, keys)) is not None:
        return (
            f"Secret {name} has no key {key}, but the key {meant}: set spec.model.tokenSecretRef to name {name} and "
            f"key {meant}, or rename the key"
        )
    return (
        f"Secret {name} has no key {key} (its keys: {', '.join(sorted(keys)) or 'none'}): add the key, or name another "
        "one in spec.model.tokenSecretRef.key"
    )


def _meant(key: str, keys: Collection[str]) -> str | None:
    """Return the key that holds the token, as far as names tell: the only one, one alike, the only one of a token."""
    if len(keys) == 1:
        return next(iter(keys))
    by_letters = {_letters(row): row for row in sorted(keys)}
    near = difflib.get_close_matches(_letters(key), by_letters, n=1)
    tokens = [row for row in keys if "token" in row.lower()]
    return by_letters[near[0]] if near else tokens[0] if len(tokens) == 1 else None


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def sentence(reason: str, spec: LlamaDeploymentSpec, fact: SecretFact | None, words: str, fix: str = "") -> str | None:
    """Return the sentence for one of `plan.survey.RefusalReason`; None for another reason."""
    write = _SENTENCES.get(reason)
    return write(Case(spec, fact, words, fix)) if write else None


def _token_missing(case: Case) -> str:
    fact, (name, key) = case.fact, token_secret(case.spec)
    missing = f"Secret {name} does not exist: create it with {case.command}"
    if fact is not None and fact.exists:
        missing = without_key(name, key, fact.keys)
        if key in fact.keys:
            missing = f"{case.secret} is empty or not in the pod yet: put the token there"
    return f"{case.spec.model.repo} is not public, and {missing}; it is tried again as soon as the token is there"


def _token_rejected(case: Case) -> str:
    return (
        f"{case.hub} does not accept the token in {case.secret}: put a valid token there ({case.command} "
        "--dry-run=client -o yaml | kubectl apply -f -); it is tried again as soon as the Secret changes"
    )


def _access_denied(case: Case) -> str:
    return (
        f"the account of the token in {case.secret} may not read {case.spec.model.repo}: accept the licence on the "
        "model's page with that account, or put another account's token there; it is tried again by itself"
    )


def _repository_not_found(case: Case) -> str:
    return (
        f"{case.hub} has no repository {case.spec.model.repo}, or hides it from the account of the token in "
        f"{case.secret}: correct spec.model.repo, or use a token that may read it"
    )


def _revision_not_found(case: Case) -> str:
    model = case.spec.model
    return f"{model.repo} has no revision {model.revision}: set spec.model.revision to a branch, tag or commit it has"


def _no_safetensors(case: Case) -> str:
    return (
        f"{case.model} has no weights in safetensors, as transformers saves them, but {case.words}: "
        f"{case.fix or 'name a repository or revision that has them'}"
    )


def _not_a_model(case: Case) -> str:
    return f"{case.model} is no model but {case.words}: {case.fix or 'name a model in spec.model.repo'}"


def _no_tokenizer(case: Case) -> str:
    return (
        f"{case.model} has no tokenizer ({case.words}): name a repository or revision that has one beside the weights"
    )


def _broken(case: Case) -> str:
    return (
        f"{case.model} is broken ({case.words}): name another revision in spec.model.revision, or another "
        "repository in spec.model.repo"
    )


def _unsupported(case: Case) -> str:
    fix = case.fix or "name a model of the Llama family in spec.model.repo"
    return f"the engine cannot run {case.spec.model.repo} ({case.words}): {fix}"


def _unreachable(case: Case) -> str:
    return f"{case.hub} does not answer ({case.words}): let the cluster reach it, or {case.elsewhere}"


def _timed_out(case: Case) -> str:
    return (
        f"{case.hub} is silent ({case.words}), as where a firewall or a network policy drops what is sent: let the "
        f"cluster reach it, name a proxy in HTTPS_PROXY, or {case.elsewhere}"
    )


def _name_unknown(case: Case) -> str:
    return (
        f"the name of {case.hub} is not known to the cluster's DNS: let it resolve names outside, or {case.elsewhere}"
    )


def _not_trusted(case: Case) -> str:
    return (
        f"{case.hub} is not trusted ({case.words}): give operator and pods (spec.podTemplate) the authority of its "
        f"certificate in SSL_CERT_FILE, or {case.elsewhere}"
    )


def _rate_limited(case: Case) -> str:
    name, key = token_secret(case.spec)
    there = case.fact is not None and case.fact.exists and key in case.fact.keys
    more = f"the limit is that of the token in {case.secret}" if there else f"a token in Secret {name} raises the limit"
    return f"{case.hub} limits how often it is asked ({case.words}): it is tried again by itself; {more}"


def _failing(case: Case) -> str:
    return (
        f"{case.hub} has trouble of its own ({case.words}): it is tried again by itself; if it lasts, {case.elsewhere}"
    )


def _proxy(case: Case) -> str:
    return (
        f"the proxy on the way to {case.hub} does not let through ({case.words}): correct HTTPS_PROXY, or except the "
        "Hub in NO_PROXY, for the operator and for the pods (spec.podTemplate)"
    )


def _not_a_hub(case: Case) -> str:
    return (
        f"what answers in place of {case.hub} is none ({case.words}): {case.elsewhere}, or see whether a proxy or a "
        "network's page to sign in answers instead"
    )


_SENTENCES: Final[Mapping[str, Callable[[Case], str]]] = {
    "TokenMissing": _token_missing,
    "TokenRejected": _token_rejected,
    "AccessDenied": _access_denied,
    "RepositoryNotFound": _repository_not_found,
    "RevisionNotFound": _revision_not_found,
    "NotAModel": _not_a_model,
    "NoSafetensors": _no_safetensors,
    "NoTokenizer": _no_tokenizer,
    "BrokenRepository": _broken,
    "UnsupportedArchitecture": _unsupported,
    "HubUnreachable": _unreachable,
    "HubTimedOut": _timed_out,
    "HubNameUnknown": _name_unknown,
    "HubNotTrusted": _not_trusted,
    "HubRateLimited": _rate_limited,
    "HubFailing": _failing,
    "ProxyFailed": _proxy,
    "NotAHub": _not_a_hub,
}
