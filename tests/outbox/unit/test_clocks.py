"""How far the database's clock is from this machine's, when an answer takes its time."""

from datetime import UTC, datetime

import pytest

from outbox.doctor.environment import _apart


@pytest.mark.parametrize(("there", "apart"), [(4, -1), (5, 0), (6, 0), (7, 0), (9, 2)])
def test_clocks_are_apart_by_what_the_answer_took_no_part_in(there: int, apart: int) -> None:
    def at(second: int) -> datetime:
        return datetime(2026, 1, 31, 12, 0, second, tzinfo=UTC)

    assert _apart(at(5), at(there), at(7)) == apart
