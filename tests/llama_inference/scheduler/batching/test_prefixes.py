"""The common beginning of two texts."""

import pytest

from llama_inference.scheduler.batching.prefixes import common_prefix


@pytest.mark.parametrize(
    ("one", "other", "most", "shared"),
    [
        ([], [1], 9, 0),
        ([1, 2, 3], [1, 2, 3], 9, 3),
        ([1, 2, 3], [1, 2, 3], 2, 2),
        ([1, 2, 3, 4], [1, 2, 9, 4], 9, 2),
        ([2], [1], 9, 0),
        ([1, 2], [1, 2, 3, 4, 5], 9, 2),
        ([1, 2], [1, 2], 0, 0),
    ],
)
def test_it_is_counted_up_to_the_first_difference(one: list[int], other: list[int], most: int, shared: int) -> None:
    """What is alike behind a difference does not count, and no more than is asked for."""
    assert common_prefix(one, other, most) == shared
    assert common_prefix(other, one, most) == shared


def test_every_length_is_found() -> None:
    """The search halves; each place of the first difference is found."""
    text = list(range(1, 40))
    for place in range(len(text)):
        other = [*text[:place], 0, *text[place + 1 :]]
        assert common_prefix(text, other, 100) == place
