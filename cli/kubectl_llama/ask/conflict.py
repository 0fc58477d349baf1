"""Whose fields a push would take over. Pure."""

import re
from typing import Final

_OWNER: Final = re.compile(r'conflicts? with "([^"]+)"')


def is_our_own(message: str, manager: str) -> bool:
    """Whether all conflicts of a server-side apply are with what this program wrote by another verb, such as scale."""
    owners = set(_OWNER.findall(message))
    return owners == {manager}
