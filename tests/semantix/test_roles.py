"""The groups that migrate makes, and the record of who did what."""

import re

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import get_resolver

from memories.models import APIKey
from outbox import Unavailable
from outbox.models import Event, Intervention, Status
from outbox.queue import circuits
from semantix.console.roles import ensure_roles
from tests.support.events import stored

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _groups() -> None:
    """Tests empty the tables, and no migrate follows."""
    ensure_roles()


def member(name: str) -> Client:
    person = User.objects.create_user(name, is_staff=True)
    person.groups.add(Group.objects.get(name=name))
    client = Client()
    client.force_login(person)
    return client


def lists() -> list[str]:
    from django.contrib import admin

    assert get_resolver().url_patterns
    models = (model._meta for model in admin.site._registry)  # noqa: SLF001
    return [f"/admin/{model.app_label}/{model.model_name}/" for model in models]


SUPERUSERS_ONLY = {"/admin/memories/apikey/", "/admin/auth/user/", "/admin/auth/group/"}


@pytest.mark.parametrize("name", ["viewer", "operator"])
def test_both_open_every_page_but_keys_and_people(name: str) -> None:
    client = member(name)

    answers = {page: client.get(page).status_code for page in ["/admin/", *lists()]}

    assert answers == {page: 403 if page in SUPERUSERS_ONLY else 200 for page in answers}
    assert "No cluster runs" in client.get("/admin/").content.decode()


def test_an_operator_decides_and_a_viewer_does_not() -> None:
    event, other = stored("test.noted", Status.DEAD), stored("test.noted", Status.DEAD)
    circuits.open_circuit(Unavailable("oven", "it is cold"))
    for name, row in (("viewer", event), ("operator", other)):
        client = member(name)
        retry = {"action": "retry", "_selected_action": [row.pk], "confirmed": "yes"}
        client.post("/admin/outbox/event/", retry)
        release = {"action": "release", "_selected_action": ["oven"], "confirmed": "yes"}
        client.post("/admin/outbox/circuit/", release)
        assert circuits.is_open("oven") is (name == "viewer")

    assert Event.objects.get(pk=event.pk).status == Status.DEAD
    assert Event.objects.get(pk=other.pk).status == Status.PENDING


def test_a_form_sent_by_hand_changes_nothing() -> None:
    """The page shows no Save button, and that is not all."""
    event = stored("test.noted", Status.DEAD)
    for name in ("viewer", "operator"):
        client = member(name)
        for page in (f"/admin/outbox/event/{event.pk}/change/", "/admin/outbox/event/add/"):
            assert client.post(page, {"status": "pending", "_save": "Save"}).status_code == 403
        assert client.post(f"/admin/outbox/event/{event.pk}/delete/", {"post": "yes"}).status_code == 403

    event.refresh_from_db()
    assert event.status == Status.DEAD


def test_what_a_superuser_added_to_a_group_stays() -> None:
    keys = Permission.objects.get(codename="view_apikey", content_type__app_label="memories")
    viewer = Group.objects.get(name="viewer")
    viewer.permissions.add(keys)
    viewer.permissions.remove(Permission.objects.get(codename="view_event"))

    ensure_roles()

    assert viewer.permissions.filter(codename__in=("view_apikey", "view_event")).count() == 2


def record() -> list[tuple[str, str, str]]:
    return list(Intervention.objects.values_list("action", "subject", "by"))


def test_every_change_on_a_page_is_recorded() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("olga"))

    client.post("/admin/memories/apikey/add/", {"name": "agent one", "user_id": "alice", "project_id": ""})
    key = APIKey.objects.get()
    change = {"name": "agent one", "revoked": "on"}
    client.post(f"/admin/memories/apikey/{key.pk}/change/", change)
    client.post(
        "/admin/memories/apikey/",
        {"action": "delete_selected", "_selected_action": [key.pk], "post": "yes"},
    )
    client.post("/admin/auth/group/add/", {"name": "readers"})

    assert record() == [
        ("added", "API key agent one", "olga"),
        ("changed", "API key agent one", "olga"),
        ("deleted", "API key agent one", "olga"),
        ("added", "group readers", "olga"),
    ]
    assert re.search("Revoked", Intervention.objects.all()[1].reason)


def test_an_action_on_a_schedule_is_recorded_with_its_name() -> None:
    from django_q.models import Schedule

    client = Client()
    client.force_login(User.objects.create_superuser("olga"))
    schedule = Schedule.objects.get(name="outbox_prune")

    client.post(
        "/admin/django_q/schedule/",
        {"action": "pause", "_selected_action": [schedule.pk], "confirmed": "yes"},
    )

    assert record() == [("pause", "Scheduled task outbox_prune", "olga")]
