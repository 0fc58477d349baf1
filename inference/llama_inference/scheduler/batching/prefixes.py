"""How much two texts have in common at their beginnings."""

from collections.abc import Sequence as Seq


def common_prefix(one: Seq[int], other: Seq[int], most: int) -> int:
    """Return how many tokens, at most `most`, two texts begin with alike; slices are compared, not tokens."""
    low, high = 0, min(len(one), len(other), most)
    if high <= 0 or one[0] != other[0]:
        return 0
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
