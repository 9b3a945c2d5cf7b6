"""The admin's pages of tasks and schedules: staff look, run registered schedules now, pause and resume them."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ, Schedule, Task

from outbox.operations.schedules import ensure_schedules

pytestmark = pytest.mark.django_db(transaction=True)

SCHEDULES = "/admin/django_q/schedule/"
MODELS = ("schedule", "success", "failure", "ormq")


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("olga", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def olga() -> Client:
    """Staff with every right that django-q2 knows."""
    return staff(*(f"{right}_{model}" for model in MODELS for right in ("add", "change", "delete", "view")))


@pytest.fixture
def rows() -> dict[str, Any]:
    """A row for each page, by model."""
    ensure_schedules()
    now = timezone.now()
    tasks = {
        success: Task.objects.create(
            id=f"{success}", name=f"{success}", func="f", started=now, stopped=now, success=success
        )
        for success in (True, False)
    }
    return {
        "schedule": Schedule.objects.get(name="outbox_prune"),
        "success": tasks[True],
        "failure": tasks[False],
        "ormq": OrmQ.objects.create(key="semantix", payload="forged", lock=now),
    }


def act(client: Client, action: str, schedule: Schedule) -> str:
    """Choose the action, and confirm it."""
    chosen = {"action": action, "_selected_action": [schedule.pk], "confirmed": "yes"}
    return client.post(SCHEDULES, chosen, follow=True).content.decode()


@pytest.mark.parametrize("model", MODELS)
def test_each_page_shows_a_row_and_saves_adds_and_deletes_none(
    olga: Client, rows: dict[str, Any], model: str
) -> None:
    page, pk = f"/admin/django_q/{model}/", rows[model].pk
    before = list(type(rows[model]).objects.values())

    assert olga.get(page).status_code == 200
    assert olga.get(f"{page}{pk}/change/").status_code == 200
    assert olga.get(f"{page}add/").status_code == 403
    assert olga.post(f"{page}add/", {"name": "x", "func": "os.system"}).status_code == 403
    assert olga.post(f"{page}{pk}/change/", {"func": "os.system", "key": "x"}).status_code == 403
    assert olga.post(f"{page}{pk}/delete/", {"post": "yes"}).status_code == 403
    assert list(type(rows[model]).objects.values()) == before


@pytest.mark.parametrize("action", ["delete_selected", "resubmit_task"])
@pytest.mark.parametrize("model", MODELS)
def test_no_page_deletes_or_resubmits_rows(
    olga: Client, rows: dict[str, Any], model: str, action: str
) -> None:
    chosen = {"action": action, "_selected_action": [rows[model].pk], "post": "yes"}
    olga.post(f"/admin/django_q/{model}/", chosen, follow=True)

    assert type(rows[model]).objects.filter(pk=rows[model].pk).exists()
    assert OrmQ.objects.count() == 1


def test_a_registered_schedule_runs_now(olga: Client, rows: dict[str, Any]) -> None:
    Schedule.objects.update(next_run=timezone.now() + timedelta(days=1))

    told = act(olga, "run_now", rows["schedule"])

    assert "1 schedule will run within half a minute." in told
    assert Schedule.objects.get(name="outbox_prune").next_run <= timezone.now()
    assert Schedule.objects.filter(next_run__lte=timezone.now()).count() == 1


def test_a_registered_schedule_is_paused_and_resumed(olga: Client, rows: dict[str, Any]) -> None:
    assert "1 schedule paused." in act(olga, "pause", rows["schedule"])
    assert Schedule.objects.get(name="outbox_prune").repeats == 0
    assert "0 schedules will run" in act(olga, "run_now", rows["schedule"])

    assert "1 schedule resumed." in act(olga, "resume", rows["schedule"])
    assert Schedule.objects.get(name="outbox_prune").repeats == -1


def test_a_schedule_that_is_not_registered_does_not_run(olga: Client) -> None:
    later = timezone.now() + timedelta(days=1)
    foreign = Schedule.objects.create(name="mine", func="subprocess.getoutput", next_run=later)

    told = act(olga, "run_now", foreign)

    assert "0 schedules will run" in told
    assert Schedule.objects.get(pk=foreign.pk).next_run == later
    assert "not registered: refused" in olga.get(SCHEDULES).content.decode()


def test_staff_without_the_permission_to_change_has_no_actions(rows: dict[str, Any]) -> None:
    viewer = staff("view_schedule")

    assert viewer.get(SCHEDULES).status_code == 200
    act(viewer, "pause", rows["schedule"])

    assert Schedule.objects.get(name="outbox_prune").repeats == -1
