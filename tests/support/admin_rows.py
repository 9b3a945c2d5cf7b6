"""Rows for tests of the admin's pages, and how a person runs an action on them."""

from django.db import transaction
from playwright.sync_api import Page, expect

import outbox
from memories.records.services import NewMemory, create_memory
from memories.tenants import Tenant
from outbox.models import Event, Failure, Status


def remember(tenant: Tenant, task: str, summary: str) -> int:
    """Store a memory; returns its id."""
    given = NewMemory(**tenant._asdict(), task=task, agent="coder", raw_data={"summary": summary})
    return create_memory(given).id


def dead_letter(tenant: Tenant, memory_id: int) -> Event:
    """An event of the memory that failed twice and is dead."""
    payload = {"memory_id": memory_id, "user_id": tenant.user_id, "project_id": tenant.project_id}
    with transaction.atomic():
        event = outbox.publish("embedding.generated", aggregate=("memory_vector", memory_id), payload=payload)
        event.status, event.attempts = Status.DEAD, 2
        event.last_error = "TypeError: the index would not have it"
        event.save()
        for attempt in (1, 2):
            _failure(event, attempt)
    return event


def _failure(event: Event, attempt: int) -> None:
    traceback = (
        f'Traceback (most recent call last):\n  File "memories/handlers.py", line 51\n{event.last_error}'
    )
    Failure.objects.create(
        event=event, attempt=attempt, error=event.last_error, traceback=traceback, worker="worker-1:4711"
    )


def run_action(page: Page, action: str, *, row: str = "") -> None:
    """Tick the row that contains a text, choose the action by its label, and press Run."""
    found = page.locator("#result_list tbody tr.data-row", has_text=row).first
    found.locator("input.action-select").click()
    page.locator("select[name=action]").select_option(label=action)
    page.get_by_role("button", name="Run").click()


def confirm(page: Page, button: str, *, reason: str = "") -> None:
    """Answer the page that asks before an action."""
    if reason:
        page.get_by_label("Why?").fill(reason)
    page.get_by_role("button", name=button, exact=True).click()


def told(page: Page, message: str) -> None:
    """Wait for the message that says what was done."""
    expect(page.get_by_text(message, exact=True)).to_be_visible()
