"""Conversations posted over REST are found by what was said in them, as the benchmark measures it."""

from collections.abc import Iterator

import httpx
import pytest
from django.core.management import call_command

from benchmarks.conversation_recall import MODES, post, recall
from memories.models import MemoryLog
from outbox.testing import drain
from tests.support.processes import environment
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

CHATS = {
    "about a parcel": [
        "The parcel with the blue lamp came late",
        "Which carrier brought it",
        "The yellow vans did",
    ],
    "about a garden": [
        "My tomatoes have brown spots",
        "That is blight, cut the leaves off",
        "How do I prevent it",
    ],
}
TURNS = [
    {
        "task": name,
        "agent": "ada",
        "project_id": "demo",
        "raw_data": {"summary": said, "turn": f"{name} {number}"},
    }
    for name, turns in CHATS.items()
    for number, said in enumerate(turns)
]
QUESTIONS = [
    {
        "project_id": "demo",
        "query": "blue lamp parcel",
        "relevant_turns": ["about a parcel 0", "about a parcel 2"],
    },
    {"project_id": "demo", "query": "brown spots on tomatoes", "relevant_turns": ["about a garden 0"]},
]


@pytest.fixture(scope="module")
def client(django_db_setup: None) -> Iterator[httpx.Client]:
    with (
        WebServer(**environment() | {"SEMANTIX_AUTH": "open"}) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield client


def test_the_turns_that_answer_are_in_the_conversation_that_is_found_first(client: httpx.Client) -> None:
    post(client, TURNS)
    call_command("flush_conversations", idle_minutes=0)
    drain()

    assert MemoryLog.objects.count() == len(CHATS)
    for mode in MODES:
        assert recall(client, QUESTIONS, mode)["recall_at_1"] == 1, mode


def test_what_is_not_found_counts_as_nothing(client: httpx.Client) -> None:
    post(client, TURNS)
    call_command("flush_conversations", idle_minutes=0)
    drain()
    other = [{"project_id": "demo", "query": "blue lamp parcel", "relevant_turns": ["about a garden 1"]}]

    figures = recall(client, other, "vector")

    assert (figures["recall_at_1"], figures["recall_at_3"]) == (0, 1)
