from __future__ import annotations

from eyebright.data.unions import Unions


def test_joined_rows_are_one_set_known_by_its_lowest_row_whatever_the_order() -> None:
    unions = Unions(7)
    for one, other in ((5, 6), (2, 5), (6, 1), (3, 4), (4, 3)):
        unions.join(one, other)
    assert [unions.find(row) for row in range(7)] == [0, 1, 1, 3, 3, 1, 1]
