"""While too many events wait, the API refuses writes of those who have more than their share of them."""

from collections.abc import Iterator
from typing import Any

import pytest

from outbox.publishing import backpressure
from tests.support.two_tenants import Cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stored(cast: Cast, settings: Any) -> Iterator[dict[str, Any]]:
    """A memory of Alice's, and a backlog that is too deep by one."""
    memory = cast.alice.remember()
    cast.alice.remember()
    settings.OUTBOX_MAX_BACKLOG = 1
    backpressure.forget()
    yield memory
    backpressure.forget()


def test_writes_are_refused_with_the_time_to_come_back(cast: Cast, stored: dict[str, Any]) -> None:
    path, body = f"/memory-logs/{stored['id']}", cast.alice.memory()

    answers = [
        cast.alice.send("POST", "/memory-logs", body),
        cast.alice.send("POST", "/memory-logs/batch", [body]),
        cast.alice.send("PUT", path, body),
        cast.alice.send("PATCH", path, {"task": "Bake bread"}),
    ]

    assert {answer.status_code for answer in answers} == {503}
    assert all(int(answer["Retry-After"]) > 0 for answer in answers)
    assert "2 events of yours wait" in answers[0].json()["detail"]


def test_a_neighbour_with_less_than_a_share_still_writes(cast: Cast, settings: Any) -> None:
    for _ in range(9):
        cast.alice.remember()
    settings.OUTBOX_MAX_BACKLOG = 8
    backpressure.forget()
    try:
        assert cast.alice.send("POST", "/memory-logs", cast.alice.memory()).status_code == 503
        assert cast.charlie.send("POST", "/memory-logs", cast.charlie.memory()).status_code == 201
        assert cast.charlie.send("POST", "/memory-logs/batch", [cast.charlie.memory()]).status_code == 201
    finally:
        backpressure.forget()


def test_reading_searching_and_deleting_go_on(cast: Cast, stored: dict[str, Any]) -> None:
    path = f"/memory-logs/{stored['id']}"
    question = cast.alice.tenant._asdict() | {"query": "login"}

    assert cast.alice.get(path).status_code == 200
    assert cast.alice.get("/memory-logs").status_code == 200
    assert cast.alice.send("POST", "/memory-logs/search", question).status_code == 200
    assert cast.alice.send("DELETE", path).status_code == 204


def test_a_deep_backlog_of_bulk_work_refuses_batches_and_no_single_memory(cast: Cast, settings: Any) -> None:
    cast.alice.send("POST", "/memory-logs/batch", [cast.alice.memory()] * 3)
    settings.OUTBOX_MAX_BACKLOG = 2
    backpressure.forget()
    try:
        assert cast.alice.send("POST", "/memory-logs/batch", [cast.alice.memory()]).status_code == 503
        assert cast.alice.send("POST", "/memory-logs", cast.alice.memory()).status_code == 201
    finally:
        backpressure.forget()
