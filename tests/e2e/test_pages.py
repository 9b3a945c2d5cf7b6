"""The pages outside of the admin work in a real browser, under the content security policy."""

import pytest
from playwright.sync_api import Browser, Page, expect

from memories.models import MemoryLog
from tests.support.admin_rows import remember
from tests.support.browser import complaints, window
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_documentation_sends_a_request(page: Page) -> None:
    tenant = new_tenant()
    remember(tenant, "Fix the login redirect", "The cookie was lost")
    page.goto("/docs")

    operation = page.locator("#operations-memory-logs-memory_logs_list")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()

    answer = operation.locator(".live-responses-table .response")
    expect(answer.locator(".response-col_status")).to_contain_text("200")
    expect(answer).to_contain_text("Fix the login redirect")


def test_the_browsable_api_stores_and_deletes_a_memory(page: Page) -> None:
    page.goto("/memory-logs")
    for name, value in {"user_id": "ada", "project_id": "demo", "task": "Fix it", "agent": "coder"}.items():
        page.locator(f"[name={name}]:visible").first.fill(value)
    page.locator("button:visible", has_text="POST").click()
    expect(page.locator(".response-info")).to_contain_text("201 Created")

    page.goto(f"/memory-logs/{MemoryLog.objects.get().pk}")
    page.get_by_role("button", name="DELETE").click()
    page.locator("#deleteModal button:visible", has_text="Delete").click()
    expect(page.locator(".response-info")).to_contain_text("204 No Content")

    assert not MemoryLog.objects.exists()


def test_a_script_in_an_address_is_shown_and_not_run(browser: Browser, server: str) -> None:
    with window(browser, server) as context:
        page = context.new_page()
        found = complaints(page)
        page.goto("/memory-logs?limit=<script>alert(1)</script>")

        expect(page.locator(".response-info")).to_contain_text("400")
        assert [text for text in found if "400 (Bad Request)" not in text] == []
