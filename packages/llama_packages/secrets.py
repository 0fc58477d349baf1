"""Which Secret a name under `secrets:` of config.yaml is taken from where nobody says another."""

from typing import Final

HUB: Final = ("hf-access-token", "hf_access_token")
OTHERS: Final = "package-secrets"


def default(name: str) -> tuple[str, str]:
    """Return Secret and key of a secret of a package."""
    return HUB if name == HUB[1] else (OTHERS, name)
