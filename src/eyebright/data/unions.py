"""Rows that belong together, joined pair by pair (disjoint sets)."""

from __future__ import annotations

from typing import final


@final
class Unions:
    """N rows, each alone at first; a set is known by its lowest row.

    Args:
        count: N.
    """

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, row: int) -> int:
        """The lowest row of the set that a row is in."""
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(self, one: int, other: int) -> None:
        """Make the sets of two rows one."""
        first, second = self.find(one), self.find(other)
        self._parent[max(first, second)] = min(first, second)
