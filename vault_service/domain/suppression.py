"""Which counts of a table may be published, so that no small one can be worked out.

The table is a tree: a total, its parts, their parts; every event is counted in one leaf. Parts of
one whole only, because two ways of cutting the same events tell together what each hides. A count
from 1 to THRESHOLD - 1 is small. The rules, for each whole and its parts:

1. a small whole is hidden, and so is all below whatever is hidden.
2. the parts from 1 to 2 * THRESHOLD - 1 are hidden, together.
3. while fewer than two are hidden, or their average is below THRESHOLD, the next larger part that
   is not zero is hidden too. Where no part is left, all are, and so are the zeros.

Whoever knows these rules cannot work a small count out: in rule 2 a unit can be moved between two
hidden parts, or in rule 3 to the part that was hidden last but one or first, without a change of
anything that is published. (Hiding small ones alone would not do: two hidden parts that make
2 * (THRESHOLD - 1) would both be known.) The tests go through every small table with those rules
in hand. Which parts there are must not depend on the counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Final

THRESHOLD: Final = 5
# One alone would be its whole less the others. Rule 3 makes that all that this has to be.
FEWEST: Final = 2

Path = tuple[str, ...]


def published(leaves: Mapping[Path, int], *, threshold: int = THRESHOLD) -> dict[Path, int | None]:
    """Every node of the tree with its count, or None where that is hidden.

    Args:
        leaves: the count of every leaf there could be, by its path; all paths are equally long.
        threshold: the smallest count that is not small; at least 3.
    """
    counts = totals(leaves)
    parts: defaultdict[Path, list[Path]] = defaultdict(list)
    for node in counts:
        if node:
            parts[node[:-1]].append(node)
    shown: dict[Path, int | None] = {}
    waiting: list[tuple[Path, bool]] = [((), 0 < counts[()] < threshold)]
    while waiting:
        node, hidden = waiting.pop()
        shown[node] = None if hidden else counts[node]
        below = {part: counts[part] for part in parts.get(node, ())}
        hide = set(below) if hidden else _hidden(below, threshold)
        waiting += [(part, part in hide) for part in below]
    return shown


def without(
    counts: Mapping[Path, int | None], *others: Mapping[Path, int | None]
) -> dict[Path, int | None]:
    """The counts, hidden also where one of the others is."""
    return {
        path: None if any(other[path] is None for other in others) else count
        for path, count in counts.items()
    }


def totals(leaves: Mapping[Path, int]) -> dict[Path, int]:
    """Every node of the tree with its count, hidden or not."""
    counts: Counter[Path] = Counter()
    for leaf, count in leaves.items():
        for length in range(len(leaf) + 1):
            counts[leaf[:length]] += count
    return dict(counts)


def _hidden(parts: Mapping[Path, int], threshold: int) -> set[Path]:
    """Which parts of a published whole are hidden."""
    if len(parts) == 1:
        return set()  # it is the whole
    live = sorted((part for part in parts if parts[part]), key=lambda part: (parts[part], part))
    hidden = [part for part in live if parts[part] < 2 * threshold]
    if not hidden:
        return set()
    rest = live[len(hidden) :]
    while len(hidden) < FEWEST or sum(parts[part] for part in hidden) < len(hidden) * threshold:
        if not rest:
            return set(parts)
        hidden.append(rest.pop(0))
    return set(hidden)
