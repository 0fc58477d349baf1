"""Do the Secrets exist that the spec names: the one with the Hub token, and those that images are pulled with?"""

from collections.abc import Iterator

from llama_operator.plan.observed import Key, SecretFact
from llama_operator.plan.refusals import without_key
from llama_operator.plan.survey import Survey
from llama_operator.preflight.finding import Finding, failed, passed
from llama_operator.spec.source import SecretKeyRef


def check_token(ref: SecretKeyRef, fact: SecretFact | None, key: Key) -> Finding:
    """Judge the token's Secret that a spec names, by name and key alone."""
    if fact is None or fact.name != ref.name or not fact.exists:
        return failed(
            "Secret",
            "SecretNotFound",
            f"spec.model.tokenSecretRef names Secret {ref.name}, which is not in namespace {key.namespace}: create it "
            f"with kubectl create secret generic {ref.name} --from-file={ref.key}=FILE, or remove the field if the "
            "model is public",
        )
    if ref.key not in fact.keys:
        return failed("Secret", "SecretKeyNotFound", without_key(ref.name, ref.key, fact.keys))
    return passed("Secret", f"Secret {ref.name} has the key {ref.key}")


def check_pull(names: tuple[str, ...], survey: Survey, key: Key) -> Iterator[Finding]:
    """Yield what is found of the Secrets that images are pulled with."""
    absent = [name for name in names if name in survey.absent_secrets]
    if absent:
        yield failed(
            "ImagePull",
            "PullSecretNotFound",
            f"spec.podTemplate names the image pull Secret {absent[0]}, which is not in namespace {key.namespace}: "
            f"create it with kubectl create secret docker-registry {absent[0]}, or remove it from imagePullSecrets",
        )
    elif names:
        yield passed("ImagePull", f"the image pull Secrets are there: {', '.join(names)}")
