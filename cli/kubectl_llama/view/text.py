"""Numbers and times as a person reads them. Pure."""

from datetime import UTC, datetime


def size(count: float) -> str:
    """Write bytes."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """Write a number of seconds as kubectl does: 42s, 5m10s, 3h, 9d."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"


def age(timestamp: str | None, now: datetime) -> str:
    """Write how long ago a point in time was."""
    if not timestamp:
        return "<unknown>"
    return duration((now - datetime.fromisoformat(timestamp).astimezone(UTC)).total_seconds())
