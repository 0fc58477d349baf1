"""Do the Secrets exist that the spec names?"""

import pytest

from llama_operator.plan.observed import Key, SecretFact
from llama_operator.plan.survey import Survey
from llama_operator.preflight.secrets import check_pull, check_token
from llama_operator.spec.source import SecretKeyRef

KEY = Key("models", "llama")


def test_a_pull_secret_must_exist() -> None:
    """Its absence would show as an image that cannot be pulled, minutes later."""
    (finding,) = check_pull(("registry", "mirror"), Survey(absent_secrets=frozenset({"mirror"})), KEY)
    assert (finding.state, finding.reason) == ("failed", "PullSecretNotFound")
    assert "Secret mirror, which is not in namespace models" in finding.message


def test_pull_secrets_that_exist_are_named() -> None:
    """None named is nothing to say."""
    (finding,) = check_pull(("registry",), Survey(), KEY)
    assert (finding.state, finding.message) == ("passed", "the image pull Secrets are there: registry")
    assert list(check_pull((), Survey(), KEY)) == []


def a_secret(*keys: str) -> SecretFact:
    """A Secret with these keys."""
    return SecretFact(name="hub", exists=True, keys=frozenset(keys))


@pytest.mark.parametrize(
    ("keys", "meant"),
    [
        (("HF_TOKEN",), "HF_TOKEN"),
        (("hf-access-token", "endpoint"), "hf-access-token"),
        (("HF_TOKEN", "username", "password"), "HF_TOKEN"),
        (("value",), "value"),
    ],
    ids=["another name", "another way of writing it", "the only token of several", "the only key"],
)
def test_a_key_that_was_meant_is_named(keys: tuple[str, ...], meant: str) -> None:
    """Names of keys are no secrets; either side can be renamed."""
    found = check_token(SecretKeyRef(name="hub", key="hf_access_token"), a_secret(*keys), KEY)
    assert (found.state, found.reason) == ("failed", "SecretKeyNotFound")
    assert found.message == (
        f"Secret hub has no key hf_access_token, but the key {meant}: set spec.model.tokenSecretRef to name hub and "
        f"key {meant}, or rename the key"
    )


@pytest.mark.parametrize("keys", [(), ("password", "username"), ("a_token", "b_token")])
def test_where_no_key_was_clearly_meant_all_are_named(keys: tuple[str, ...]) -> None:
    """Nothing is guessed: one of them may be for something else."""
    found = check_token(SecretKeyRef(name="hub", key="hf_access_key"), a_secret(*keys), KEY)
    assert f"has no key hf_access_key (its keys: {', '.join(keys) or 'none'}): add the key, or name another" in (
        found.message
    )
