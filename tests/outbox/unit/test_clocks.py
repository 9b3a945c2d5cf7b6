"""The difference between the clocks of the database and of this machine, if an answer takes long."""

from datetime import UTC, datetime

import pytest

from outbox.doctor.environment import _apart


@pytest.mark.parametrize(("there", "apart"), [(4, -1), (5, 0), (6, 0), (7, 0), (9, 2)])
def test_the_duration_of_an_answer_does_not_count_as_a_difference_of_clocks(there: int, apart: int) -> None:
    def at(second: int) -> datetime:
        return datetime(2026, 1, 31, 12, 0, second, tzinfo=UTC)

    assert _apart(at(5), at(there), at(7)) == apart
