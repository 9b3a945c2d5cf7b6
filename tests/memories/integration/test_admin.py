"""The admin's pages use words for states, one format for dates, and say each thing once."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import Client
from django.utils import timezone

from memories.models import APIKey
from memories.records.services import NewMemory, create_memory
from outbox.models import Circuit, Event
from outbox.testing import drain
from tests.support.conversations import Chat
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def olga() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("olga"))
    return client


def page(client: Client, path: str) -> str:
    return client.get(path).content.decode()


def test_a_key_is_valid_expired_or_revoked(olga: Client) -> None:
    yesterday = timezone.now() - timedelta(days=1)
    for name, more in {"good": {}, "old": {"expiry_date": yesterday}, "lost": {"revoked": True}}.items():
        APIKey.objects.create_key(name=name, user_id="ada", **more)

    listed = page(olga, "/admin/memories/apikey/")

    assert sorted(re.findall(r'class="outbox-status"[^>]*>(\w+)<', listed)) == ["expired", "revoked", "valid"]
    assert "icon-no" not in listed


def test_a_conversation_says_where_its_turns_wait(olga: Client) -> None:
    Chat(name="about-parcels").say("Where is my parcel?")
    assert "PostgreSQL" in page(olga, "/admin/memories/conversation/")


def test_a_similar_memory_is_named_once_and_dates_are_written_one_way(olga: Client) -> None:
    tenant = new_tenant()
    rows = [
        create_memory(NewMemory(**tenant._asdict(), task=task, agent="coder"))
        for task in ("Fix the login redirect", "Fix the logout redirect")
    ]
    drain()

    shown = page(olga, f"/admin/memories/memorylog/{rows[0].pk}/change/")

    assert shown.count("Fix the logout redirect") == 1
    rows[0].refresh_from_db()
    assert shown.count(f"{rows[0].created_at:%Y-%m-%d %H:%M:%S}") >= 2  # of the row, and of its first version
    assert not re.search(r"[ap]\.m\.", shown)


def test_the_scheduled_tasks_fit_on_a_screen(olga: Client) -> None:
    listed = page(olga, "/admin/django_q/schedule/")
    assert re.findall(r'class="[^"]*column-(\w+)', listed) == [
        "name",
        "interval",
        "state",
        "next_run",
        "get_last_run",
        "get_success",
    ]
    assert "10 min" in listed


def test_the_icon_that_browsers_ask_for_is_there(client: Client) -> None:
    assert client.get("/favicon.ico")["Location"] == "/static/semantix/favicon.svg"
    assert finders.find("semantix/favicon.svg")


def test_a_page_that_only_shows_a_row_refuses_a_form(olga: Client) -> None:
    """Saving the row would write back every column as the page read it: the state of an event, for example."""
    memory = create_memory(NewMemory(**new_tenant()._asdict(), task="Fix the login", agent="coder"))
    event = Event.objects.get(aggregateid=str(memory.pk))
    Circuit.objects.create(dependency="oven", types=[], failures=0, reason="")
    conversation = Chat(name="about-parcels")
    conversation.say("Where is my parcel?")
    pages = {
        f"memories/memorylog/{memory.pk}": {"task": "Changed"},
        f"outbox/event/{event.pk}": {"status": "delivered"},
        "outbox/circuit/oven": {"failures": "7"},
        f"memories/conversation/{conversation.row.pk}": {"save_error": "x"},
    }

    for path, form in pages.items():
        assert olga.post(f"/admin/{path}/change/", form | {"_save": "Save"}).status_code == 403, path
        assert olga.get(f"/admin/{path}/change/").status_code == 200, path

    assert not LogEntry.objects.exists()
