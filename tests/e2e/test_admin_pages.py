"""The admin's pages in a real browser, as an operator goes through them."""

import pytest
from playwright.sync_api import Locator, Page, expect

from memories.records.services import delete_memory
from outbox.models import Status
from outbox.testing import drain
from tests.support.admin_rows import confirm, dead_letter, remember, told
from tests.support.browser import picture
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_dead_letter_is_found_read_retried_and_delivered(page: Page) -> None:
    tenant = new_tenant()
    memory_id = remember(tenant, "Fix the login redirect", "The session cookie was lost behind the proxy")
    drain()
    event = dead_letter(tenant, memory_id)

    page.goto("/admin/")
    card = page.locator("a", has_text="Dead letters")
    expect(card).to_contain_text("1")
    card.click()
    expect(page.locator("#result_list")).to_contain_text("the index would not have it")
    picture(page, "admin-dead-letters")

    page.locator("#result_list").get_by_role("link", name=str(event.pk), exact=True).click()
    page.locator("summary", has_text="traceback").last.click()
    expect(page.get_by_text('File "memories/handlers.py"').last).to_be_visible()
    picture(page, "admin-event")

    page.get_by_role("button", name="Retry …").click()
    expect(page.get_by_text("1 event will wait for delivery again")).to_be_visible()
    picture(page, "admin-retry")
    confirm(page, "Retry 1 event")
    told(page, "1 event retried.")
    expect(page.locator(".outbox-status").first).to_have_text("pending")

    drain()
    page.reload()
    expect(page.locator(".outbox-status").first).to_have_text("delivered")
    expect(page.get_by_text("retried by olga")).to_be_visible()


def test_payload_and_headers_are_folded_until_they_are_asked_for(page: Page) -> None:
    tenant = new_tenant()
    event = dead_letter(tenant, 990_002)
    page.goto(f"/admin/outbox/event/{event.pk}/change/")
    payload = page.locator("pre", has_text=tenant.user_id)

    expect(payload).to_be_hidden()
    page.get_by_text("Payload and headers").click()

    expect(payload).to_be_visible()


def test_a_memory_shows_its_events_and_similar_memories(page: Page) -> None:
    tenant = new_tenant()
    memory_id = remember(tenant, "Fix the login redirect", "The session cookie was lost behind the proxy")
    remember(tenant, "Fix the logout redirect", "The session cookie stayed behind the proxy")
    drain()

    page.goto(f"/admin/memories/memorylog/{memory_id}/change/")

    expect(page.locator(".outbox-status").first).to_have_text("indexed")
    expect(page.get_by_text("Fix the logout redirect").first).to_be_visible()
    expect(page.get_by_text("vector.stored").first).to_be_visible()
    picture(page, "admin-memory")


def test_the_page_of_an_event_that_will_go_by_itself_has_no_button_that_stands_out(page: Page) -> None:
    event = dead_letter(new_tenant(), 990_003)
    event.status = Status.PENDING
    event.save()

    page.goto(f"/admin/outbox/event/{event.pk}/change/")

    expect(page.get_by_text("no cluster runs")).to_be_visible()
    discard = page.get_by_role("button", name="Discard …")
    expect(discard).to_be_visible()
    expect(discard).to_have_css("background-color", "rgba(0, 0, 0, 0)")


@pytest.fixture
def live(page: Page) -> Page:
    page.goto("/admin/live")
    expect(page.get_by_text("Connected.")).to_be_visible()
    return page


def live_rows(page: Page) -> Locator:
    return page.locator("#live-updates tbody tr")


def follow_only(page: Page, *, user: str = "", type: str = "all types") -> None:
    page.get_by_label("User id").fill(user)
    page.get_by_label("Type").select_option(label=type)
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("Connected.")).to_be_visible()


def test_live_updates_appear_without_a_reload_and_lead_to_their_memory(live: Page) -> None:
    tenant = new_tenant()
    expect(live.get_by_text("Nothing yet")).to_be_visible()

    memory_id = remember(tenant, "Rotate the certificate", "The mail relay's had ended")
    drain()

    expect(live_rows(live).first).to_contain_text("vector.stored")
    expect(live.get_by_text("Nothing yet")).to_be_hidden()
    picture(live, "admin-live")
    live_rows(live).first.get_by_role("link", name=str(memory_id), exact=True).click()
    expect(live.get_by_text("Rotate the certificate").first).to_be_visible()


def test_only_the_chosen_tenant_and_type_are_shown(live: Page) -> None:
    mine, other = new_tenant(), new_tenant()
    follow_only(live, user=mine.user_id)
    remember(other, "Fix it", "It was broken")
    remember(mine, "Fix it", "It was broken")
    drain()
    expect(live_rows(live)).to_have_count(1)
    expect(live_rows(live)).to_contain_text(mine.user_id)

    follow_only(live, type="vector.deleted")
    memory_id = remember(mine, "Fix that", "It was broken")
    drain()
    delete_memory(memory_id)
    drain()
    expect(live_rows(live)).to_have_count(1)
    expect(live_rows(live)).to_contain_text("vector.deleted")


def test_a_pause_holds_the_rows_and_says_how_many_are_new(live: Page) -> None:
    tenant = new_tenant()
    live.get_by_role("button", name="Pause").click()
    remember(tenant, "Fix it", "It was broken")
    remember(tenant, "Fix that", "It was broken")
    drain()

    go_on = live.get_by_role("button", name="Go on (2 new)")
    expect(go_on).to_be_visible()
    expect(live_rows(live)).to_have_count(0)
    go_on.click()

    expect(live_rows(live)).to_have_count(2)
    expect(live.get_by_role("button", name="Pause")).to_be_visible()


def test_a_project_without_its_user_is_refused_with_the_reason(live: Page) -> None:
    live.get_by_label("Project id").fill("web")
    live.get_by_role("button", name="Filter").click()

    expect(live.get_by_text("Give the user id as well")).to_be_visible()
