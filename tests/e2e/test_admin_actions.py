"""Each action of each list and page, from the mouse to its effect."""

import re

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from memories.auth import api_keys
from memories.models import APIKey, MemoryLog
from outbox import Unavailable
from outbox.models import Event, Status
from outbox.operations import statistics
from outbox.queue import circuits, probes
from outbox.testing import drain
from tests.support.admin_rows import confirm, dead_letter, remember, run_action, told
from tests.support.conversations import Chat
from tests.support.events import stored
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


def event_id(page: Page) -> int:
    """The id of a new dead letter whose page is open."""
    event = dead_letter(new_tenant(), 990_001)
    page.goto(f"/admin/outbox/event/{event.pk}/change/")
    return event.pk


class TestEvents:
    def test_retry_from_the_list(self, page: Page) -> None:
        event = dead_letter(new_tenant(), 990_001)
        page.goto("/admin/outbox/event/?status__exact=dead")

        run_action(page, "Retry …")
        confirm(page, "Retry 1 event")

        told(page, "1 event retried.")
        assert Event.objects.get(pk=event.pk).status == Status.PENDING

    def test_discard_from_the_list_asks_for_a_reason_and_keeps_it(self, page: Page) -> None:
        event = dead_letter(new_tenant(), 990_001)
        page.goto("/admin/outbox/event/?status__exact=dead")

        run_action(page, "Discard …")
        confirm(page, "Discard 1 event", reason="that memory was a mistake")

        told(page, "1 event discarded: that memory was a mistake.")
        event.refresh_from_db()
        assert event.status == Status.DISCARDED
        assert event.interventions.get().by == "olga"

    def test_replay_from_the_list(self, page: Page) -> None:
        remember(new_tenant(), "Fix the login redirect", "The cookie was lost")
        drain()
        page.goto("/admin/outbox/event/?type=memory_log.stored")

        run_action(page, "Replay …")
        confirm(page, "Replay 1 event")

        told(page, "1 event replayed.")
        assert Event.objects.filter(type="memory_log.stored", headers__has_key="replay_of").count() == 1

    def test_an_action_on_all_selected_rows(self, page: Page) -> None:
        for number in (1, 2, 3):
            dead_letter(new_tenant(), 990_000 + number)
        page.goto("/admin/outbox/event/?status__exact=dead")

        page.locator("#action-toggle").click()
        run_action_on_selection(page, "Retry …")
        confirm(page, "Retry 3 events")

        told(page, "3 events retried.")

    def test_a_mind_can_be_changed(self, page: Page) -> None:
        event = dead_letter(new_tenant(), 990_001)
        page.goto("/admin/outbox/event/?status__exact=dead")

        run_action(page, "Retry …")
        page.get_by_role("link", name="No, go back").click()

        expect(page.locator("#result_list")).to_be_visible()
        assert Event.objects.get(pk=event.pk).status == Status.DEAD

    def test_retry_on_the_page(self, page: Page) -> None:
        event = event_id(page)

        page.get_by_role("button", name="Retry …").click()
        confirm(page, "Retry 1 event")

        told(page, "1 event retried.")
        expect(page.locator(".outbox-status").first).to_have_text("pending")
        assert Event.objects.get(pk=event).status == Status.PENDING

    def test_discard_on_the_page(self, page: Page) -> None:
        event = event_id(page)

        page.get_by_role("button", name="Discard …").click()
        confirm(page, "Discard 1 event", reason="a mistake")

        expect(page.locator(".outbox-status").first).to_have_text("discarded")
        assert Event.objects.get(pk=event).status == Status.DISCARDED

    def test_replay_on_the_page(self, page: Page) -> None:
        event = stored("test.noted", Status.DELIVERED)
        page.goto(f"/admin/outbox/event/{event.pk}/change/")

        page.get_by_role("button", name="Replay …").click()
        confirm(page, "Replay 1 event")

        told(page, "1 event replayed.")


def run_action_on_selection(page: Page, action: str) -> None:
    page.locator("select[name=action]").select_option(label=action)
    page.get_by_role("button", name="Run").click()


class TestCircuits:
    @pytest.fixture(autouse=True)
    def _oven_is_away(self, page: Page) -> None:
        circuits.open_circuit(Unavailable("oven", "it is cold", retry_after=600))
        page.goto("/admin/outbox/circuit/")

    def test_try_now_from_the_list(self, page: Page) -> None:
        run_action(page, "Try now …", row="oven")
        confirm(page, "Try now 1 dependency")

        told(page, "1 dependency will be tried at once.")
        assert [probe.dependency for probe in probes.acquire_probes()] == ["oven"]

    def test_hold_from_the_list(self, page: Page) -> None:
        run_action(page, "Hold …", row="chroma")
        page.get_by_label("For how long?").select_option(label="for a day")
        confirm(page, "Hold 1 dependency", reason="it is moved")

        told(page, "1 dependency held for a day: it is moved.")
        assert circuits.is_open("chroma")
        circuits.close_circuit("chroma")

    def test_release_from_the_list(self, page: Page) -> None:
        run_action(page, "Release …", row="oven")
        confirm(page, "Release 1 dependency")

        told(page, "1 dependency released.")
        assert not circuits.is_open("oven")

    @pytest.mark.parametrize(
        ("action", "reason", "message"),
        [
            ("Try now", "", "1 dependency will be tried at once."),
            ("Hold", "it is cleaned", "1 dependency held for an hour: it is cleaned."),
            ("Release", "", "1 dependency released."),
        ],
    )
    def test_each_action_on_the_page(self, page: Page, action: str, reason: str, message: str) -> None:
        page.get_by_role("link", name="oven").click()

        page.get_by_role("button", name=f"{action} …").click()
        confirm(page, f"{action} 1 dependency", reason=reason)

        told(page, message)
        expect(page.locator(".outbox-status").first).to_be_visible()
        assert circuits.is_open("oven") is (action != "Release")


class TestEventTypes:
    def test_pause_from_the_list_and_resume(self, page: Page) -> None:
        page.goto("/admin/outbox/eventtype/")

        run_action(page, "Pause …", row="memory_log.deleted")
        page.get_by_label("For how long?").select_option(label="until somebody ends it")
        confirm(page, "Pause 1 event type", reason="the index is moved")
        told(page, "1 event type paused until somebody ends it: the index is moved.")
        assert [type.name for type in statistics.paused_types()] == ["memory_log.deleted"]

        run_action(page, "Resume …", row="memory_log.deleted")
        confirm(page, "Resume 1 event type")
        told(page, "1 event type resumed.")
        assert statistics.paused_types() == []

    def test_pause_and_resume_on_the_page(self, page: Page) -> None:
        page.goto("/admin/outbox/eventtype/")
        page.get_by_role("link", name="memory_log.deleted").click()

        page.get_by_role("button", name="Pause …").click()
        confirm(page, "Pause 1 event type", reason="the index is moved")
        expect(page.locator(".outbox-status").first).to_have_text("paused")

        page.get_by_role("button", name="Resume …").click()
        confirm(page, "Resume 1 event type")
        expect(page.locator(".outbox-status").first).to_have_text("on")


class TestMemories:
    @pytest.fixture(autouse=True)
    def _one_memory(self, page: Page) -> None:
        remember(new_tenant(), "Fix the login redirect", "The cookie was lost")
        drain()
        page.goto("/admin/memories/memorylog/")

    def newest(self) -> str:
        return Event.objects.latest("pk").type

    def test_index_again_from_the_list(self, page: Page) -> None:
        run_action(page, "Index again …")
        confirm(page, "Index again 1 memory")

        told(page, "1 memory will be written to the index again.")
        assert self.newest() == "vector.outdated"

    def test_embed_again_from_the_list(self, page: Page) -> None:
        run_action(page, "Embed again …")
        confirm(page, "Embed again 1 memory")

        told(page, "1 memory will be embedded again.")
        assert self.newest() == "embedding.missing"

    @pytest.mark.parametrize(
        ("action", "event"), [("Index again", "vector.outdated"), ("Embed again", "embedding.missing")]
    )
    def test_each_action_on_the_page(self, page: Page, action: str, event: str) -> None:
        page.goto(f"/admin/memories/memorylog/{MemoryLog.objects.get().pk}/change/")

        page.get_by_role("button", name=f"{action} …").click()
        confirm(page, f"{action} 1 memory")

        expect(page.get_by_text("Fix the login redirect").first).to_be_visible()
        assert self.newest() == event


class TestConversations:
    @pytest.fixture
    def chat(self) -> Chat:
        chat = Chat(name="about-parcels")
        chat.say("Where is my parcel?")
        return chat

    def test_save_now_from_the_list(self, page: Page, chat: Chat) -> None:
        page.goto("/admin/memories/conversation/")

        run_action(page, "Save now")

        told(page, "1 turn saved.")
        assert chat.saved == ["Where is my parcel?"]

    def test_save_now_on_the_page(self, page: Page, chat: Chat) -> None:
        page.goto("/admin/memories/conversation/")
        page.get_by_role("link", name="about-parcels").click()

        page.get_by_role("button", name="Save now").click()

        told(page, "1 turn saved.")
        assert chat.saved == ["Where is my parcel?"]


class TestKeys:
    def test_a_key_is_added_shown_once_and_works(self, page: Page) -> None:
        page.goto("/admin/memories/apikey/")
        page.get_by_title("Add API key").click()
        page.get_by_label("Name").fill("agent one")
        page.get_by_label("User id").fill("alice")
        page.get_by_role("button", name="Save", exact=True).click()

        row = APIKey.objects.get()
        shown = page.get_by_text(f"{row.prefix}.").inner_text()
        [key] = re.findall(rf"{row.prefix}\.\w+", shown)
        assert api_keys.holder(key) == row

    def test_a_key_is_revoked(self, page: Page) -> None:
        row, key = APIKey.objects.create_key(name="agent one", user_id="alice")
        page.goto("/admin/memories/apikey/")
        page.get_by_role("link", name=row.prefix).click()

        page.locator("input[name=revoked]").click()
        page.get_by_role("button", name="Save", exact=True).click()

        expect(page.locator(".outbox-status")).to_have_text("revoked")
        api_keys.forget()
        assert api_keys.holder(key) is None

    def test_keys_are_deleted_from_the_list(self, page: Page) -> None:
        APIKey.objects.create_key(name="agent one", user_id="alice")
        page.goto("/admin/memories/apikey/")

        run_action(page, "Delete selected API keys")
        page.get_by_role("button", name="Yes, I’m sure").click()

        told(page, "Successfully deleted 1 API key.")
        assert not APIKey.objects.exists()


class TestPeople:
    def test_a_user_is_added(self, page: Page) -> None:
        page.goto("/admin/auth/user/")
        page.get_by_title("Add user").click()
        page.get_by_label("Username").fill("victor")
        page.locator("input[name=password1]").fill("a-long-Enough-1")
        page.locator("input[name=password2]").fill("a-long-Enough-1")
        page.get_by_role("button", name="Save", exact=True).click()

        expect(page.get_by_label("Username")).to_have_value("victor")
        assert User.objects.filter(username="victor").exists()

    def test_a_user_is_deleted_from_the_list(self, page: Page) -> None:
        User.objects.create_user("victor")
        page.goto("/admin/auth/user/")

        run_action(page, "Delete selected users", row="victor")
        page.get_by_role("button", name="Yes, I’m sure").click()

        told(page, "Successfully deleted 1 user.")
        assert not User.objects.filter(username="victor").exists()

    def test_a_group_is_added(self, page: Page) -> None:
        page.goto("/admin/auth/group/")
        page.get_by_title("Add group").click()
        page.get_by_label("Name").fill("readers")
        page.get_by_role("button", name="Save", exact=True).click()

        expect(page.locator("#result_list")).to_contain_text("readers")
