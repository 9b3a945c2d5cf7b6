"""The pages outside of the admin work in a real browser, under the content security policy."""

import pytest
from playwright.sync_api import Browser, Page, expect

from memories.models import MemoryLog
from outbox.testing import drain
from tests.support.admin_rows import remember
from tests.support.browser import PHONE, complaints, overflow, picture, window
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


def test_the_browsable_api_searches_and_keeps_what_was_asked(page: Page) -> None:
    tenant = new_tenant()
    remember(tenant, "Fix the login redirect", "The session cookie was lost behind the proxy")
    drain()

    page.goto("/memory-logs/search")
    page.locator("[name=query]:visible").fill("session cookie")
    page.locator("[name=user_id]:visible").fill(tenant.user_id)
    page.locator("[name=project_id]:visible").fill(tenant.project_id)
    page.locator("[name=mode]:visible").select_option("lexical")
    page.locator("button:visible", has_text="POST").click()

    expect(page.locator(".response-info")).to_contain_text("The session cookie was lost")
    expect(page.locator("[name=query]:visible")).to_have_value("session cookie")
    expect(page.locator("[name=mode]:visible")).to_have_value("lexical")
    picture(page, "browsable-search")


def test_a_memory_is_replaced_by_its_prefilled_forms(page: Page) -> None:
    number = remember(new_tenant(), "Fix the login redirect", "The session cookie was lost")
    page.goto(f"/memory-logs/{number}")

    expect(page.locator("#put-object-form [name=task]")).to_have_value("Fix the login redirect")
    page.locator("#put-object-form [name=task]").fill("Fix the logout redirect")
    page.locator("#put-object-form button", has_text="PUT").click()
    expect(page.locator(".response-info")).to_contain_text('"version": 2')

    page.get_by_role("link", name="Raw data").click()
    page.locator("#put-generic-content-form button", has_text="PUT").click()
    expect(page.locator(".response-info")).to_contain_text("200 OK")
    row = MemoryLog.objects.get()
    assert (row.task, row.raw_data) == ("Fix the logout redirect", {"summary": "The session cookie was lost"})


def test_the_documentation_lists_streams_and_health_memories_first(page: Page) -> None:
    page.goto("/docs")

    expect(page.locator(".opblock-tag").first).to_contain_text("memory-logs")
    for summary in (
        "server-sent events",
        "over a WebSocket",
        "Streamable HTTP",
        "Prometheus",
        "each with its latency",
    ):
        expect(page.locator(".opblock-summary-description", has_text=summary)).to_be_visible()


def test_the_documentation_is_dark_when_the_system_is(page: Page) -> None:
    page.goto("/docs")
    expect(page.locator(".opblock-tag").first).to_have_css("color", "rgb(59, 65, 81)")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body")).to_have_css("background-color", "rgb(28, 32, 34)")


def test_an_opened_stream_does_not_load_for_ever(page: Page) -> None:
    page.goto("/memory-logs/events", wait_until="load")

    expect(page.get_by_role("heading", name="Live updates")).to_be_visible()
    expect(page.locator("pre")).to_contain_text("text/event-stream")


def test_the_pages_of_the_api_and_of_its_documentation_fit_a_phone(
    browser: Browser, server: str, transactional_db: None
) -> None:
    number = remember(new_tenant(), f"Fix it {'x' * 400}", "It was broken " + "y" * 400)
    drain()
    with window(browser, server, size=PHONE, scheme="dark") as context:
        page = context.new_page()
        found = complaints(page)
        for path in (
            "/memory-logs",
            f"/memory-logs/{number}",
            f"/memory-logs/{number}/history",
            "/memory-logs/search",
            "/memory-logs/events",
            "/docs",
        ):
            page.goto(path)
            assert (path, overflow(page)) == (path, 0)
        assert found == []


def test_a_script_in_an_address_is_shown_and_not_run(browser: Browser, server: str) -> None:
    with window(browser, server) as context:
        page = context.new_page()
        found = complaints(page)
        page.goto("/memory-logs?limit=<script>alert(1)</script>")

        expect(page.locator(".response-info")).to_contain_text("400")
        assert [text for text in found if "400 (Bad Request)" not in text] == []
