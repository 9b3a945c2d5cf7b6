"""Conversations in the admin: waiting turns are shown, from either buffer, and can be saved now."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memories.conversations import append
from memories.conversations.buffers import failover
from memories.models.conversation import ConversationGap
from tests.support.conversations import Chat
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/memories/conversation/"


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture(params=["postgres", "redis"])
def buffer(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        request.getfixturevalue("redis_server")
    return str(request.param)


def save_now(client: Client, *chats: Chat) -> Any:
    chosen = {"action": "save_now", "_selected_action": [chat.row.id for chat in chats]}
    return client.post(LIST, chosen, follow=True)


def test_the_list_counts_the_waiting_turns(admin: Client, buffer: str) -> None:
    chat = Chat(name="about-parcels")
    chat.say("one", "two")

    page = admin.get(LIST).content.decode()

    assert "about-parcels" in page
    assert re.search(r"<td[^>]*field-waiting[^>]*>\s*2\s*</td>", page)


def test_the_page_shows_waiting_turns_parts_and_gaps(admin: Client, buffer: str) -> None:
    chat = Chat()
    chat.say("saved")
    save_now(admin, chat)
    chat.say("<b>waits</b>")
    append.append(replace(chat.post(""), turns=({"role": "assistant", "content": None},)))
    ConversationGap.objects.create(
        conversation=chat.row, after_turn=7, before_turn=9, at_least=1, reason="evicted"
    )

    page = admin.get(f"{LIST}{chat.row.id}/change/").content.decode()

    assert "user: &lt;b&gt;waits&lt;/b&gt;" in page
    assert "3 (no words)" in page
    assert str(chat.memories[0].pk) in page
    assert "evicted" in page


def test_the_page_of_a_long_conversation_is_bounded_and_reads_no_vector(
    admin: Client, buffer: str, settings: Any
) -> None:
    settings.CONVERSATION_PART_CHARACTERS = 10
    chat = Chat()
    chat.say(*(f"saved {n}" for n in range(60)))
    save_now(admin, chat)
    chat.say(*(f"waits {n}." for n in range(60)))

    with CaptureQueriesContext(connection) as queries:
        page = admin.get(f"{LIST}{chat.row.id}/change/").content.decode()

    assert ("waits 49." in page, "waits 50." in page, "These are the first 50" in page) == (True, False, True)
    links = set(re.findall(r'href="/admin/memories/memorylog/(\d+)/change/"', page))
    assert links == {str(memory.id) for memory in chat.memories[-50:]}
    assert '"embedding"' not in str(queries.captured_queries)
    assert len(queries) < 30


def test_save_now_saves_the_chosen_conversations_only(admin: Client, buffer: str) -> None:
    chosen, other = Chat(), Chat()
    chosen.say("one", "two")
    other.say("three")

    page = save_now(admin, chosen).content.decode()

    assert "2 turns saved." in page
    assert LogEntry.objects.get().change_message == "2 turns saved"
    assert (chosen.saved, other.saved) == (["one", "two"], [])


def test_a_viewer_cannot_save(buffer: str) -> None:
    chat = Chat()
    chat.say("one")
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_conversation"))
    client = Client()
    client.force_login(viewer)

    assert client.get(LIST).status_code == 200
    save_now(client, chat)

    assert chat.saved == []


def test_pages_say_that_redis_does_not_answer(admin: Client, tmp_path: Path, settings: Any) -> None:
    with RedisServer(tmp_path) as server:
        settings.CONVERSATION_REDIS_URL = server.url
        failover.end_pause()
        chat = Chat()
        chat.say("one")
    assert "Redis does not answer" in admin.get(LIST).content.decode()
    assert "are not shown" in admin.get(f"{LIST}{chat.row.id}/change/").content.decode()
    assert "was not saved" in save_now(admin, chat).content.decode()
    failover.fail_over("stopped")
    assert "stopped" in admin.get("/admin/memories/bufferfailover/").content.decode()
    failover.end_pause()
