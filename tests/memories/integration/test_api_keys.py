"""Keys at the API: which are let in, to what, and how soon a revoked one no longer is."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from memories.auth import api_keys
from memories.models import APIKey, MemoryLog
from tests.support.keys import client_with, memory, new_key
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _keys_required(settings: Any) -> None:
    settings.SEMANTIX_AUTH = "required"
    api_keys.forget()


def post(client: Client, body: Any) -> Any:
    return client.post("/memory-logs", body, content_type="application/json")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Api-Key"])
def test_a_key_lets_in_under_either_scheme(scheme: str) -> None:
    tenant = new_tenant()

    assert post(client_with(new_key(*tenant), scheme), memory(*tenant)).status_code == 201


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer x", "Basic YWRhOmFkYQ==", f"Bearer {'a' * 8}.{'b' * 32}", "Bearer é"],
)
def test_without_a_good_key_the_answer_is_401_and_says_how_to_send_one(header: str) -> None:
    answer = Client(headers={"Authorization": header}).get("/memory-logs")

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer["Content-Type"] == "application/problem+json"


def test_a_key_with_another_secret_behind_a_known_prefix_is_refused() -> None:
    key = new_key("alice")

    assert client_with(key[:-1] + ("a" if key[-1] != "a" else "b")).get("/memory-logs").status_code == 401


def test_an_expired_key_is_refused() -> None:
    assert client_with(new_key("alice", days=-1)).get("/memory-logs").status_code == 401


def test_a_remembered_key_is_refused_from_the_moment_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_with(new_key("alice", days=1))
    assert client.get("/memory-logs").status_code == 200

    tomorrow = timezone.now() + timedelta(days=1, seconds=1)
    monkeypatch.setattr(timezone, "now", lambda: tomorrow)

    assert client.get("/memory-logs").status_code == 401


def test_a_key_revoked_in_this_process_is_refused_at_once() -> None:
    client = client_with(new_key("alice"))
    assert client.get("/memory-logs").status_code == 200

    row = APIKey.objects.get()
    row.revoked = True
    row.save()

    assert client.get("/memory-logs").status_code == 401


def test_a_key_revoked_elsewhere_is_refused_when_its_memory_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = api_keys.monotonic()
    monkeypatch.setattr(api_keys, "monotonic", lambda: now)
    client = client_with(new_key("alice"))
    assert client.get("/memory-logs").status_code == 200
    APIKey.objects.update(revoked=True)
    assert client.get("/memory-logs").status_code == 200, "still remembered"

    monkeypatch.setattr(api_keys, "monotonic", lambda: now + 5.1)

    assert client.get("/memory-logs").status_code == 401


def test_a_remembered_key_costs_no_query(django_assert_num_queries: Any) -> None:
    key = new_key("alice")
    api_keys.holder(key)

    with django_assert_num_queries(0):
        assert api_keys.holder(key) is not None


def test_its_last_use_is_noted_once_a_minute(django_assert_num_queries: Any) -> None:
    key = new_key("alice")
    api_keys.holder(key)
    assert APIKey.objects.get().last_used_at is not None

    api_keys.forget()
    with django_assert_num_queries(1):
        api_keys.holder(key)

    a_while_ago = timezone.now() - timedelta(seconds=61)
    APIKey.objects.update(last_used_at=a_while_ago)
    api_keys.forget()
    api_keys.holder(key)
    assert APIKey.objects.get().last_used_at > a_while_ago


def test_only_a_hash_of_the_key_is_kept() -> None:
    key = new_key("alice")

    assert key.partition(".")[2] not in str(APIKey.objects.values())


def test_naming_another_tenant_is_refused_and_stores_nothing() -> None:
    alice, charlie = new_tenant(), new_tenant()

    answer = post(client_with(new_key(*alice)), memory(*charlie))

    assert answer.status_code == 403
    assert not MemoryLog.objects.filter(user_id=charlie.user_id).exists()


def test_a_key_of_a_user_opens_every_project_of_that_user() -> None:
    client = client_with(new_key("alice"))

    assert post(client, memory("alice", "one")).status_code == 201
    assert post(client, memory("alice", "two")).status_code == 201
    assert len(client.get("/memory-logs").json()["results"]) == 2


def test_a_superuser_of_the_admin_browses_without_a_key(admin_client: Client) -> None:
    assert admin_client.get("/memory-logs").status_code == 200


def test_others_of_the_admin_do_not(client: Client) -> None:
    client.force_login(User.objects.create_user("staff", is_staff=True))

    assert client.get("/memory-logs").status_code == 401


def test_a_session_posts_only_with_its_csrf_token(admin_user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)

    assert post(client, memory("alice", "one")).status_code == 403


def test_open_lets_in_without_a_key_and_still_refuses_a_bad_one(settings: Any, client: Client) -> None:
    settings.SEMANTIX_AUTH = "open"

    assert client.get("/memory-logs").status_code == 200
    assert client_with("bad").get("/memory-logs").status_code == 401


def test_the_admin_shows_a_new_key_once_and_never_lets_it_change_hands(admin_client: Client) -> None:
    fields = {"name": "agent", "user_id": "alice", "project_id": ""}
    page = admin_client.post("/admin/memories/apikey/add/", fields, follow=True)
    row = APIKey.objects.get()
    shown = re.search(rf"{row.prefix}\.\w{{32}}", page.content.decode())
    assert shown
    assert api_keys.holder(shown[0]) == row

    url = f"/admin/memories/apikey/{row.pk}/change/"
    assert shown[0] not in admin_client.get(url).content.decode()
    admin_client.post(url, fields | {"user_id": "charlie"})
    row.refresh_from_db()
    assert row.user_id == "alice"
