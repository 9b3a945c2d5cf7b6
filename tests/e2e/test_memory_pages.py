"""A person finds a memory, reads what changed, and forgets it: with the mouse, in a browser."""

import pytest
from playwright.sync_api import Page, expect

from memories.models import Erasure, MemoryLog
from memories.records.services import update_memory
from memories.tenants import Tenant
from outbox.testing import drain
from tests.support.admin_rows import confirm, remember, run_action, told
from tests.support.browser import picture
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/memories/memorylog/"


@pytest.fixture
def tenant() -> Tenant:
    return new_tenant()


def filter_by(page: Page, **values: str) -> None:
    """Open the filters, write into them, and apply them."""
    page.locator("#changelist a:visible", has_text="Filters").click()
    for name, value in values.items():
        page.locator(f"#filter-form input[name={name}]").fill(value)
    page.get_by_role("button", name="Apply Filters").click()


def rows(page: Page) -> list[str]:
    return page.locator("#result_list tbody tr.data-row .field-what").all_inner_texts()


def test_a_memory_is_found_by_words_of_its_body_and_by_filters(page: Page, tenant: Tenant) -> None:
    remember(tenant, "Fix the login redirect", "The session cookie was lost behind the proxy")
    remember(tenant, "Fix the logout redirect", "The page was cached")
    remember(new_tenant(), "Fix the proxy", "The session cookie was too long")
    page.goto(LIST)

    page.locator("#searchbar").fill("session cookie")
    page.keyboard.press("Enter")
    expect(page.locator("#found-how")).to_contain_text("all of these words, newest first")
    assert len(rows(page)) == 2

    filter_by(page, user_id=tenant.user_id, project_id=tenant.project_id)
    expect(page.locator("#found-how")).to_contain_text("best first")
    expect(page.locator("#searchbar")).to_have_value("session cookie")
    assert [text.strip().splitlines()[-1] for text in rows(page)] == ["Fix the login redirect"]
    picture(page, "admin-memories")


def test_the_history_button_leads_to_what_each_version_changed(page: Page, tenant: Tenant) -> None:
    memory = remember(tenant, "Fix the login redirect", "The session cookie was lost")
    update_memory(memory, {"raw_data": {"summary": "The session cookie was lost behind the proxy"}})
    page.goto(f"{LIST}{memory}/change/")

    page.locator('a[href$="/history/"]:visible', has_text="History").click()

    expect(page.locator("#versions")).to_be_visible()
    expect(page.locator(".memory-diff").first).to_contain_text("behind the proxy")


def test_selected_memories_are_erased(page: Page, tenant: Tenant) -> None:
    remember(tenant, "Fix the login redirect", "The session cookie was lost")
    page.goto(LIST)

    run_action(page, "Erase …")
    confirm(page, "Erase 1 memory")

    told(page, "1 memory will be erased. The receipt says when it is done and verified.")
    drain()
    page.reload()
    expect(page.locator("#result_list .outbox-status")).to_have_text("done")
    assert not MemoryLog.objects.exists()


def test_a_memory_is_erased_on_its_page(page: Page, tenant: Tenant) -> None:
    memory = remember(tenant, "Fix the login redirect", "The session cookie was lost")
    page.goto(f"{LIST}{memory}/change/")

    page.get_by_role("button", name="Erase …").click()
    confirm(page, "Erase 1 memory")

    told(page, "1 memory will be erased. The receipt says when it is done and verified.")
    assert Erasure.objects.get().memory_log_ids == [memory]


def test_a_user_is_erased_after_a_page_that_counts(page: Page, tenant: Tenant) -> None:
    remember(tenant, "Fix the login redirect", "The session cookie was lost")
    remember(tenant, "Fix the logout redirect", "The page was cached")
    page.goto(LIST)
    filter_by(page, user_id=tenant.user_id)

    page.get_by_role("link", name="erase it …").click()
    expect(page.get_by_label("User id")).to_have_value(tenant.user_id)
    page.get_by_role("button", name="Count …").click()
    picture(page, "admin-erase")
    page.get_by_role("button", name="Erase 2 memories, 2 versions, 1 project").click()

    expect(page.get_by_text("The erasure is requested.")).to_be_visible()
    drain()
    page.reload()
    expect(page.locator(".outbox-status")).to_have_text("done")
    expect(page.get_by_text("nothing: every store was asked again")).to_be_visible()
    picture(page, "admin-receipt")
    assert not MemoryLog.objects.exists()


def test_a_search_is_tried_and_explained(page: Page, tenant: Tenant) -> None:
    remember(tenant, "Fix the login redirect", "The session cookie was lost behind the proxy")
    remember(tenant, "Fix the logout redirect", "A person was signed out by the proxy")
    drain()
    page.goto("/admin/")

    page.get_by_role("link", name="Try a search").click()
    page.get_by_label("Query").fill("session cookie")
    page.get_by_label("User id").fill(tenant.user_id)
    page.get_by_label("Project id").fill(tenant.project_id)
    page.get_by_role("button", name="Search", exact=True).click()

    first = page.locator("#hits > li").first
    expect(first).to_contain_text("Fix the login redirect")
    expect(first).to_contain_text("Place 1 by words, place 1 by meaning.")
    expect(page.get_by_label("Query")).to_have_value("session cookie")
    picture(page, "admin-search")

    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Agent").fill("planner")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_text("No memory matches.")).to_be_visible()
    expect(page.get_by_label("Agent")).to_have_value("planner")
