"""What a run of one way to serve comes to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: returned tokens a second, prompts included in the time; and seconds to callers' first tokens, mean."""

    tokens_per_second: float
    first_token_seconds: float | None
