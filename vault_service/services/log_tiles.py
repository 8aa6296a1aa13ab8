"""Finds the tiles that a proof needs, full ones in their table and partial ones at the edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vault_service.ledger import tiles
from vault_service.ledger.tiles import Edge, Fetch
from vault_service.services.log_ports import LogReading


def at_edge(edge: Edge) -> dict[tuple[int, int], bytes]:
    """The partial tiles of a tree by (level, number)."""
    return {
        (level, (edge.size >> (tiles.HEIGHT * level)) // tiles.WIDTH): hashes
        for level, hashes in enumerate(edge.levels)
        if hashes
    }


def fetcher(log: LogReading, edge: Edge) -> Fetch:
    """A function that gets tiles of the tree that has this edge, or had it a moment ago.

    The edge must have been read before: what was partial then is taken from it, and what was full
    then will be full for ever.
    """
    partial = at_edge(edge)

    def fetch(names: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], bytes]:
        return partial | log.tiles([name for name in names if name not in partial])

    return fetch
