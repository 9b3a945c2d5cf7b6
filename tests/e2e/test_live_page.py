"""The page of live updates: rows appear by themselves, link to their memories, and can be filtered and held."""

import pytest
from playwright.sync_api import Locator, Page, expect

from memories.records.services import delete_memory
from outbox.testing import drain
from tests.support.admin_rows import remember
from tests.support.browser import picture
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def live(page: Page) -> Page:
    page.goto("/admin/live")
    expect(page.get_by_text("Connected.")).to_be_visible()
    return page


def rows(page: Page) -> Locator:
    return page.locator("#live-updates tbody tr")


def choose(page: Page, *, user: str = "", type: str = "all types") -> None:
    page.get_by_label("User id").fill(user)
    page.get_by_label("Type").select_option(label=type)
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("Connected.")).to_be_visible()


def test_live_updates_appear_without_a_reload_and_lead_to_their_memory(live: Page) -> None:
    tenant = new_tenant()
    expect(live.get_by_text("Nothing yet")).to_be_visible()

    memory_id = remember(tenant, "Rotate the certificate", "The mail relay's had ended")
    drain()

    expect(rows(live).first).to_contain_text("vector.stored")
    expect(live.get_by_text("Nothing yet")).to_be_hidden()
    picture(live, "admin-live")
    rows(live).first.get_by_role("link", name=str(memory_id), exact=True).click()
    expect(live.get_by_text("Rotate the certificate").first).to_be_visible()


def test_only_the_chosen_tenant_and_type_are_shown(live: Page) -> None:
    mine, other = new_tenant(), new_tenant()
    choose(live, user=mine.user_id)
    remember(other, "Fix it", "It was broken")
    remember(mine, "Fix it", "It was broken")
    drain()
    expect(rows(live)).to_have_count(1)
    expect(rows(live)).to_contain_text(mine.user_id)

    choose(live, type="vector.deleted")
    memory_id = remember(mine, "Fix that", "It was broken")
    drain()
    delete_memory(memory_id)
    drain()
    expect(rows(live)).to_have_count(1)
    expect(rows(live)).to_contain_text("vector.deleted")


def test_a_pause_holds_the_rows_and_says_how_many_are_new(live: Page) -> None:
    tenant = new_tenant()
    live.get_by_role("button", name="Pause").click()
    remember(tenant, "Fix it", "It was broken")
    remember(tenant, "Fix that", "It was broken")
    drain()

    go_on = live.get_by_role("button", name="Go on (2 new)")
    expect(go_on).to_be_visible()
    expect(rows(live)).to_have_count(0)
    go_on.click()

    expect(rows(live)).to_have_count(2)
    expect(live.get_by_role("button", name="Pause")).to_be_visible()


def test_a_project_without_its_user_is_refused_with_the_reason(live: Page) -> None:
    live.get_by_label("Project id").fill("web")
    live.get_by_role("button", name="Filter").click()

    expect(live.get_by_text("Give the user id as well")).to_be_visible()
