"""The admin in a real browser: Debian's Chromium, driven by Playwright, against the server and cluster as they run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

import outbox
from memories.records.services import NewMemory, create_memory
from memories.tenants import Tenant
from outbox.models import Event, Failure, Status
from outbox.testing import drain
from tests.support.processes import environment
from tests.support.programs import require
from tests.support.tenants import new_tenant
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PASSWORD = "a-password-for-tests"
# `make screenshots` sets it; the pages below are then kept as pictures.
PICTURES = os.environ.get("SCREENSHOTS")
# Milliseconds; how long a busy machine may take to show something.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[str]:
    with WebServer(**environment() | {"SEMANTIX_AUTH": "open"}) as running:
        yield running.url


@pytest.fixture(scope="module")
def browser(server: str) -> Iterator[BrowserContext]:
    """The ORM is used beside Playwright's event loop, from this thread alone."""
    chromium = require("chromium")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS, timeout=PATIENCE)
        context = browser.new_context(base_url=server, viewport={"width": 1400, "height": 1000})
        context.set_default_timeout(PATIENCE)
        yield context
        connections.close_all()  # those opened while the browser's event loop ran
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def page(browser: BrowserContext, transactional_db: None) -> Iterator[Page]:
    """Of the browser, signed in."""
    User.objects.create_superuser("olga", password=PASSWORD)
    browser.clear_cookies()
    page = browser.new_page()
    page.goto("/admin/")
    page.fill("input[name=username]", "olga")
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    expect(page.get_by_text("Dead letters")).to_be_visible()
    yield page
    page.close()


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.wait_for_load_state("networkidle")
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def remember(tenant: Tenant, task: str, summary: str) -> int:
    return create_memory(
        NewMemory(
            user_id=tenant.user_id,
            project_id=tenant.project_id,
            task=task,
            agent="coder",
            raw_data={"summary": summary},
        )
    ).id


def dead_letter(tenant: Tenant, memory_id: int) -> Event:
    with transaction.atomic():
        event = outbox.publish(
            "embedding.generated",
            aggregate=("memory_vector", memory_id),
            payload={"memory_id": memory_id, "user_id": tenant.user_id, "project_id": tenant.project_id},
        )
        event.status, event.attempts = Status.DEAD, 2
        event.last_error = "TypeError: the index would not have it"
        event.save()
        for attempt in (1, 2):
            Failure.objects.create(
                event=event,
                attempt=attempt,
                error=event.last_error,
                traceback='Traceback (most recent call last):\n  File "memories/handlers.py", line 51, in index\n'
                + event.last_error,
                worker="worker-1:4711",
            )
    return event


def choose(page: Page, action: str) -> None:
    """Tick the first row and run an action on it."""
    page.locator("#result_list input.action-select").first.check()
    page.locator("select[name=action]").select_option(action)
    # By its form: when the theme's script shows the button depends on how fast the machine is.
    page.locator("button[name=index]").first.evaluate("button => button.form.requestSubmit(button)")


def test_a_dead_letter_is_found_read_retried_and_delivered(page: Page) -> None:
    tenant = new_tenant()
    memory_id = remember(tenant, "Fix the login redirect", "The session cookie was lost behind the proxy")
    drain()
    event = dead_letter(tenant, memory_id)

    page.goto("/admin/")
    card = page.locator("a", has_text="Dead letters")
    expect(card).to_contain_text("1")
    picture(page, "admin-overview")
    card.click()
    expect(page.locator("#result_list")).to_contain_text("the index would not have it")
    picture(page, "admin-dead-letters")

    page.locator("#result_list a", has_text=str(event.pk)).first.click()
    page.locator("summary").last.click()
    expect(page.get_by_text('File "memories/handlers.py"').last).to_be_visible()
    picture(page, "admin-event")

    page.get_by_role("button", name="Retry …").click()
    expect(page.get_by_text("1 event would wait for delivery again")).to_be_visible()
    picture(page, "admin-retry")
    page.get_by_role("button", name="Retry 1 event").click()
    expect(page.get_by_text("1 event retried.")).to_be_visible()
    expect(page.locator(".outbox-status").first).to_have_text("pending")

    drain()
    page.reload()
    expect(page.locator(".outbox-status").first).to_have_text("delivered")
    expect(page.get_by_text("retried by olga")).to_be_visible()


def test_discarding_asks_why_and_keeps_the_answer(page: Page) -> None:
    event = dead_letter(new_tenant(), 990_001)

    page.goto("/admin/outbox/event/?status__exact=dead")
    choose(page, "discard")
    page.fill("input[name=reason]", "that memory was a mistake")
    page.get_by_role("button", name="Discard 1 event").click()
    expect(page.get_by_text("1 event discarded: that memory was a mistake.")).to_be_visible()

    event.refresh_from_db()
    assert event.status == "discarded"
    assert event.interventions.get().by == "olga"


def test_live_updates_appear_without_a_reload(page: Page) -> None:
    tenant = new_tenant()
    page.goto("/admin/live")
    expect(page.get_by_text("Connected.")).to_be_visible()
    expect(page.get_by_text("Nothing yet")).to_be_visible()

    memory_id = remember(tenant, "Rotate the certificate", "The mail relay's had ended")
    drain()

    expect(page.locator("#live-updates tbody tr").first).to_contain_text(str(memory_id))
    expect(page.locator("#live-updates tbody tr").first).to_contain_text("vector.stored")
    expect(page.get_by_text("Nothing yet")).to_be_hidden()
    picture(page, "admin-live")


def test_a_memory_shows_what_became_of_it_and_what_is_like_it(page: Page) -> None:
    tenant = new_tenant()
    memory_id = remember(tenant, "Fix the login redirect", "The session cookie was lost behind the proxy")
    remember(tenant, "Fix the logout redirect", "The session cookie stayed behind the proxy")
    drain()

    page.goto(f"/admin/memories/memorylog/{memory_id}/change/")

    expect(page.locator(".outbox-status").first).to_have_text("indexed")
    expect(page.get_by_text("Fix the logout redirect").first).to_be_visible()
    expect(page.get_by_text("vector.stored").first).to_be_visible()
    picture(page, "admin-memory")


def test_the_browsable_api_searches(page: Page) -> None:
    tenant = new_tenant()
    remember(tenant, "Fix the login redirect", "The session cookie was lost behind the proxy")
    drain()

    page.goto("/memory-logs/search")
    page.locator("[name=query]:visible").fill("session cookie")
    page.locator("[name=user_id]:visible").fill(tenant.user_id)
    page.locator("[name=project_id]:visible").fill(tenant.project_id)
    page.locator("button:visible", has_text="POST").click()

    expect(page.locator(".response-info")).to_contain_text("The session cookie was lost")
    picture(page, "browsable-search")
