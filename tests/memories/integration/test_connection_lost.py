"""Django says InterfaceError when its connection is gone, and it is no DatabaseError: both mean the same here."""

import asyncio
from typing import Any

import pytest
from django.db import InterfaceError
from django.test import AsyncRequestFactory

from memories.api.live import admission, sse
from memories.api.live.admission import Admission, Sender
from memories.api.prefer_wait import progress_of
from memories.auth.access import EVERYTHING
from memories.records import queries

pytestmark = pytest.mark.django_db(transaction=True)

SENDER = Sender("Bearer aaaaaaaa." + "b" * 32, None, "127.0.0.1")


def fail(*_: Any) -> None:
    raise InterfaceError("connection already closed")


def test_an_answer_that_waits_is_given_without_the_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "memories", fail)

    assert progress_of([1]) == {}


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look-up of a key finds the connection gone."""

    monkeypatch.setattr(admission, "_identify", fail)


@pytest.mark.usefixtures("lost")
def test_a_new_stream_is_refused_with_503() -> None:
    request = AsyncRequestFactory().get("/memory-logs/events")

    answer = asyncio.run(sse.events(request))

    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"


@pytest.mark.usefixtures("lost")
def test_an_open_stream_goes_on() -> None:
    assert asyncio.run(Admission(SENDER, EVERYTHING, "key a").is_valid())
