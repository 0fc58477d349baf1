"""Do the Secrets exist that a package declares, and what of its config.yaml is left aside?"""

from collections.abc import Iterator, Sequence

from llama_operator.plan.observed import Finding, Key, SecretFact
from llama_operator.plan.package import Resolved, SecretRef
from llama_operator.preflight.finding import failed, passed, warned

_SHORT = 12


def check(package: Resolved, facts: Sequence[SecretFact], key: Key) -> Iterator[Finding]:
    """Yield what is found of a package; what cannot be served at all was told before."""
    known = {fact.name: fact for fact in facts if fact.exists}
    for row in package.wanted_secrets:
        yield _secret(row, known.get(row.secret), key)
    said = f"{package.title} is package {package.content[:_SHORT]}"
    if package.warnings:
        ignored = "; ".join(f"{row.field}: {row.words}" for row in package.warnings)
        yield warned("Model", f"{said}; of its config.yaml is ignored: {ignored}")
    else:
        yield passed("Model", said)


def _secret(row: SecretRef, fact: SecretFact | None, key: Key) -> Finding:
    if fact is None:
        return failed(
            "Secret",
            "SecretNotFound",
            f"config.yaml declares the secret {row.name}, which is looked for in Secret {row.secret}, and there is "
            f"none in namespace {key.namespace}: create it with kubectl create secret generic {row.secret} "
            f"--from-file={row.key}=FILE, or name another in spec.package.secrets",
        )
    if row.key not in fact.keys:
        keys = ", ".join(sorted(fact.keys)) or "none"
        return failed(
            "Secret",
            "SecretKeyNotFound",
            f"config.yaml declares the secret {row.name}, and Secret {row.secret} has no key {row.key} (its keys: "
            f"{keys}): add the key, or name another in spec.package.secrets",
        )
    return passed("Secret", f"Secret {row.secret} has the key {row.key}")
