"""The history checker finds each kind of lie, and believes what can be true."""

import pytest

from tests.faults.histories import (
    CHANGE,
    CREATE,
    DELETE,
    READ,
    SEARCH,
    Operation,
    Outcome,
    State,
    anomalies,
)

DONE, ABSENT, UNKNOWN = Outcome.DONE, Outcome.ABSENT, Outcome.UNKNOWN
CREATED = Operation(CREATE, 1, 2, DONE, 1, 1, "one")
MAYBE_CREATED = Operation(CREATE, 1, 2, UNKNOWN, 0, 0, "one")
CHANGED = Operation(CHANGE, 3, 4, DONE, 1, 2, "two")
DELETED = Operation(DELETE, 5, 6, DONE, 1)


@pytest.mark.parametrize(
    ("operations", "state"),
    [
        ([CREATED], {1: (1, "one")}),
        ([CREATED, CHANGED], {1: (2, "two")}),
        ([CREATED, CHANGED, DELETED, Operation(READ, 7, 8, ABSENT, 1)], {}),
        ([CREATED, Operation(CHANGE, 3, 4, UNKNOWN, 1, 0, "two")], {1: (1, "one")}),
        ([CREATED, Operation(CHANGE, 3, 4, UNKNOWN, 1, 0, "two")], {1: (2, "two")}),
        ([CREATED, Operation(DELETE, 3, 4, UNKNOWN, 1)], {1: (1, "one")}),
        ([CREATED, Operation(DELETE, 3, 4, UNKNOWN, 1)], {}),
        # At the same time, in either order.
        ([CREATED, CHANGED, Operation(READ, 3, 5, DONE, 1, 1, "one")], {1: (2, "two")}),
        ([CREATED, DELETED, Operation(READ, 5, 7, DONE, 1, 1, "one")], {}),
        ([MAYBE_CREATED], {7: (1, "one")}),
        # Somebody finds what a create stored whose answer never came.
        ([MAYBE_CREATED, Operation(SEARCH, 3, 4, DONE, 7, 1, "one")], {7: (1, "one")}),
    ],
)
def test_what_can_be_true_is_no_anomaly(operations: list[Operation], state: State) -> None:
    assert anomalies(operations, state) == []


@pytest.mark.parametrize(
    ("operations", "state", "told"),
    [
        ([CREATED], {}, "is lost"),
        ([CREATED], {1: (1, "one"), 2: (1, "other")}, "nobody wrote 2"),
        ([MAYBE_CREATED, Operation(SEARCH, 0.1, 0.2, DONE, 7, 1, "one")], {7: (1, "one")}, "before it began"),
        ([CREATED, CHANGED], {1: (1, "one")}, "version 2 was acknowledged"),
        ([CREATED], {1: (2, "one")}, "which nobody wrote"),
        ([CREATED, CHANGED], {1: (3, "three")}, "which nobody wrote"),
        ([CREATED, DELETED], {1: (1, "one")}, "is back after its deletion"),
        ([CREATED, DELETED, Operation(READ, 7, 8, DONE, 1, 1, "one")], {}, "a deleted memory was back"),
        ([CREATED, DELETED, Operation(SEARCH, 7, 8, DONE, 1, 1, "one")], {}, "a deleted memory was back"),
        ([CREATED, CHANGED, Operation(READ, 5, 6, DONE, 1, 1, "one")], {1: (2, "two")}, "an older version"),
        ([CREATED, Operation(READ, 5, 6, DONE, 1, 1, "else")], {1: (1, "one")}, "shows what nobody wrote"),
        ([CREATED, Operation(SEARCH, 5, 6, ABSENT, 1)], {1: (1, "one")}, "a stored memory was absent"),
        ([CREATED, Operation(CHANGE, 3, 4, DONE, 1, 1, "two")], {1: (1, "two")}, "given one version"),
    ],
)
def test_what_cannot_be_true_is_an_anomaly(operations: list[Operation], state: State, told: str) -> None:
    assert any(told in anomaly for anomaly in anomalies(operations, state)), anomalies(operations, state)
