"""Do the Secrets exist that the spec names?"""

from llama_operator.plan.observed import Key
from llama_operator.plan.survey import Survey
from llama_operator.preflight.secrets import check_pull

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
