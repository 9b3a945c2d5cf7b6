"""The overview in a real browser: it refreshes by itself, can be paused, and leads to what has to be done."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from outbox import Unavailable
from outbox.models import Activity, Event, Failure, Relay, Status, Waiting
from outbox.queue import circuits
from tests.support.admin_rows import confirm, dead_letter, told
from tests.support.browser import overflow, picture
from tests.support.events import stored
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


def a_cluster() -> None:
    """A cluster with a busy worker, and its last half hour."""
    Relay.objects.create(
        id="00000000-0000-0000-0000-000000000001",
        host="web-1",
        pid=4242,
        wakeup="listen",
        alive_at=timezone.now() + timedelta(hours=1),
        in_hand=[
            {"pid": 4250, "task": "memory_log.stored #812 and 41 more", "seconds": 2.4},
            {"pid": 4251, "task": "", "seconds": 8.0},
        ],
    )
    minute = timezone.now().replace(second=0, microsecond=0)
    for ago in range(30):
        at = minute - timedelta(minutes=ago)
        for type, share in (
            ("memory_log.stored", 40),
            ("embedding.generated", 38),
            ("memory_log.deleted", 3),
        ):
            Activity.objects.create(minute=at, cluster="web-1:4242", type=type, delivered=share + ago % 7)
        for type in ("", "memory_log.stored"):
            Waiting.objects.create(minute=at, type=type, count=ago % 5, oldest_seconds=ago % 5)


def test_it_begins_with_all_is_well_and_then_with_what_is_not_by_itself(page: Page) -> None:
    a_cluster()
    page.clock.install()
    page.goto("/admin/")
    expect(page.get_by_text("All is well.")).to_be_visible()
    expect(page.get_by_text("worker 4250: memory_log.stored #812 and 41 more, for 2.4 s")).to_be_visible()
    expect(page.get_by_text("Times are in UTC")).to_be_visible()

    stored("memory_log.stored")
    circuits.open_circuit(Unavailable("embedder", "connection refused", retry_after=600))
    page.clock.fast_forward(10_000)

    expect(page.locator("#condition")).to_contain_text("embedder is away (connection refused) since 2")
    expect(page.locator("#condition")).to_contain_text("1 event waits for it and loses no attempt.")
    assert page.locator("canvas.overview-chart").count() > 5
    page.get_by_role("link", name="Go there").click()
    expect(page.locator(".outbox-status").first).to_have_text("open")
    circuits.release("embedder")


def test_it_can_be_paused_and_stays_paused(page: Page) -> None:
    a_cluster()
    page.goto("/admin/")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("This page is paused.")).to_be_visible()
    dead_letter(new_tenant(), 990_001)
    page.reload()
    expect(page.get_by_text("This page is paused.")).to_be_visible()
    expect(page.locator("#condition")).to_contain_text("1 event could not be delivered")
    Event.objects.all().delete()

    page.get_by_role("button", name="Resume").click()

    expect(page.get_by_text("All is well.")).to_be_visible()


def test_equal_errors_are_one_group_and_retried_together(page: Page) -> None:
    a_cluster()
    dead_letter(new_tenant(), 990_001)
    dead_letter(new_tenant(), 990_002)
    other = stored("memory_log.deleted", Status.DEAD, last_error="no such collection", attempts=8)
    Failure.objects.create(event=other, attempt=8, error="no such collection", worker="web-1:4250")
    page.goto("/admin/")
    expect(page.locator("#errors")).to_contain_text("2 events of embedding.generated are dead letters")
    assert overflow(page) <= 0
    picture(page, "admin-overview")

    page.locator("#errors").get_by_role("link", name="Show them").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(2)
    page.go_back()
    page.get_by_role("button", name="Retry them …").click()
    confirm(page, "Retry 2 events")

    told(page, "2 events retried.")
    assert set(Event.objects.filter(status=Status.DEAD)) == {other}
