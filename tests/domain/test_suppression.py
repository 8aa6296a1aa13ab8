"""No small count can be worked out from what is published, not even with the rules in hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.suppression import THRESHOLD, Path, published, totals


def flat(count: int) -> list[Path]:
    """One whole with some parts."""
    return [(str(number),) for number in range(count)]


TWO_BY_TWO = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]
UNEVEN = [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1")]
DEEP = [("a", "1", "x"), ("a", "1", "y"), ("a", "2", "x"), ("b", "1", "x")]


def worlds(
    leaves: Sequence[Path], largest: int, threshold: int
) -> Iterable[tuple[tuple[object, ...], dict[Path, int], dict[Path, int | None]]]:
    """Every table with counts up to a largest: what is published of it, and what is true."""
    for counts in product(range(largest + 1), repeat=len(leaves)):
        table = dict(zip(leaves, counts, strict=True))
        shown = published(table, threshold=threshold)
        yield tuple(sorted(shown.items())), totals(table), shown


@pytest.mark.parametrize(
    ("leaves", "largest", "threshold"),
    [
        (flat(2), 16, 3),
        (flat(3), 10, 3),
        (flat(4), 7, 3),
        (flat(3), 12, 4),
        (flat(3), 13, 5),
        (TWO_BY_TWO, 7, 3),
        (UNEVEN, 7, 3),
        (DEEP, 7, 3),
    ],
)
def test_whoever_knows_the_rules_cannot_work_a_small_count_out(
    leaves: Sequence[Path], largest: int, threshold: int
) -> None:
    """For each thing published, every hidden small count could be another one as well.

    The attacker tries every table there is with the very function that publishes.
    """
    possible: defaultdict[tuple[object, ...], defaultdict[Path, set[int]]] = defaultdict(
        lambda: defaultdict(set)
    )
    for key, true, shown in worlds(leaves, largest, threshold):
        for node, count in shown.items():
            if count is None:
                possible[key][node].add(true[node])
            else:
                assert count == true[node]
                assert count == 0 or count >= threshold
    assert possible
    for hidden in possible.values():
        for counts in hidden.values():
            assert len(counts) > 1 or min(counts) == 0 or min(counts) >= threshold


counts = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.sampled_from("cde"), st.sampled_from("fgh")),
    st.one_of(st.integers(0, 12), st.integers(0, 5000)),
    min_size=1,
)


@given(counts)
def test_no_hidden_count_follows_from_totals(table: dict[Path, int]) -> None:
    """Below a published whole either nothing is hidden, or two with an average that is not small.

    Nothing below what is hidden is shown, so that no hidden one has another equation.
    """
    shown, true = published(table), totals(table)
    assert shown.keys() == true.keys()
    for node, count in shown.items():
        parts = [each for each in shown if each[:-1] == node and each != node]
        hidden = [each for each in parts if shown[each] is None]
        assert count is None or count == true[node]
        assert count is None or count == 0 or count >= THRESHOLD
        if count is None:
            assert hidden == parts
        elif hidden:
            assert len(hidden) >= 2
            told = sum(shown[each] or 0 for each in parts)
            everything = hidden == parts
            assert everything or count - told >= len(hidden) * THRESHOLD


@given(counts)
def test_large_counts_are_all_shown(table: dict[Path, int]) -> None:
    """The rules hide nothing where nothing is small."""
    large = {path: count + 2 * THRESHOLD for path, count in table.items()}
    assert published(large) == totals(large)


def test_the_smallest_neighbour_is_hidden_with_a_small_one() -> None:
    """And the large ones stay."""
    table = {("a",): 3, ("b",): 700, ("c",): 40, ("d",): 0}
    assert published(table) == {
        (): 743,
        ("a",): None,
        ("b",): 700,
        ("c",): None,
        ("d",): 0,
    }


def test_two_counts_just_below_the_threshold_are_not_told_by_their_sum() -> None:
    """Hiding small ones alone would: two below 5 that make 8 are 4 and 4."""
    shown = published({("a",): 4, ("b",): 4, ("c",): 60})
    assert shown == {(): 68, ("a",): None, ("b",): None, ("c",): None}


def test_a_small_total_is_hidden_with_all_below() -> None:
    """Zeros too."""
    assert set(published({("a",): 2, ("b",): 0}).values()) == {None}


def test_a_single_part_is_its_whole() -> None:
    """There is nothing to hide in it."""
    assert published({("a", "x"): 7}) == {(): 7, ("a",): 7, ("a", "x"): 7}


def test_values_hidden_with_their_reveals_are_not_told_either() -> None:
    """Every reveal has a value at least, and both are counted; only the reveals decide."""
    possible: defaultdict[object, defaultdict[Path, set[tuple[int, int]]]] = defaultdict(
        lambda: defaultdict(set)
    )
    most = 2  # values beyond one for each reveal; all ways to spread them are gone through
    pairs = [(0, 0), *((one, one + more) for one in range(1, 7) for more in range(most + 1))]
    leaves = flat(3)
    for world in product(pairs, repeat=3):
        reveals = {leaf: pair[0] for leaf, pair in zip(leaves, world, strict=True)}
        values = totals({leaf: pair[1] for leaf, pair in zip(leaves, world, strict=True)})
        true = totals(reveals)
        if values[()] - true[()] > most:
            continue
        shown = published(reveals, threshold=3)
        key = tuple(
            (node, count, None if count is None else values[node])
            for node, count in sorted(shown.items())
        )
        for node, count in shown.items():
            if count is None:
                possible[key][node].add((true[node], values[node]))
    for hidden in possible.values():
        for found in hidden.values():
            for place in (0, 1):
                told = {pair[place] for pair in found}
                assert len(told) > 1 or min(told) == 0 or min(told) >= 3
