"""The API in a browser: pages with forms that work, for callers who may use them."""

from typing import Any

import pytest
from django.test import Client

from memories.models import MemoryLog
from tests.support.keys import memory

pytestmark = pytest.mark.django_db

HTML = {"Accept": "text/html"}
FORM = memory("alice", "web", raw_data='{"tags": ["a"]}')


@pytest.fixture
def browser() -> Client:
    return Client(enforce_csrf_checks=True, headers=HTML)


def form_token(browser: Client, path: str = "/memory-logs") -> dict[str, str]:
    page = browser.get(path).context
    return {"csrfmiddlewaretoken": str(page["csrf_token"])}


def test_every_page_has_a_title_and_the_way_to_the_others(browser: Client) -> None:
    stored = browser.post(
        "/memory-logs", memory("alice", "web"), content_type="application/json", headers=HTML
    )
    number = MemoryLog.objects.get().pk
    assert stored.status_code == 201
    for path in (
        "/memory-logs",
        "/memory-logs/search",
        f"/memory-logs/{number}",
        f"/memory-logs/{number}/history",
    ):
        page = browser.get(path).content.decode()
        assert "– Semantix</title>" in page
        assert 'href="/docs"' in page


@pytest.mark.parametrize("path", ["/memory-logs", "/memory-logs/search"])
def test_a_form_asks_for_every_field(browser: Client, path: str) -> None:
    page = browser.get(path).content.decode()

    assert 'name="user_id"' in page
    assert 'enctype="multipart/form-data"' in page


@pytest.mark.parametrize("path", ["/memory-logs/search", "/memory-logs/batch", "/conversations/talk/turns"])
def test_an_address_that_takes_only_post_shows_its_form(browser: Client, path: str) -> None:
    page = browser.get(path)

    assert page.status_code == 200
    assert "POST" in page.content.decode()
    assert "Method" not in page.content.decode()


def test_a_program_still_gets_a_405(browser: Client) -> None:
    assert browser.get("/memory-logs/search", headers={"Accept": "application/json"}).status_code == 405


def test_a_form_stores_a_memory(browser: Client) -> None:
    answer = browser.post("/memory-logs", FORM | form_token(browser))

    assert answer.status_code == 201, answer.content
    assert MemoryLog.objects.get().raw_data == {"tags": ["a"]}


def test_an_empty_form_field_is_left_out(browser: Client) -> None:
    answer = browser.post("/memory-logs", FORM | {"raw_data": "", "date": ""} | form_token(browser))

    assert answer.status_code == 201, answer.content
    assert MemoryLog.objects.get().raw_data == {}


def test_a_form_says_a_turn_and_nothing_of_the_form_is_kept_with_it(browser: Client) -> None:
    said = {"user_id": "alice", "project_id": "web", "role": "user", "content": "hello"}
    path = "/conversations/talk/turns"
    assert 'name="content"' in browser.get(path).content.decode()

    assert browser.post(path, said | form_token(browser)).status_code == 202
    shown = browser.get(
        "/conversations/talk", {"user_id": "alice", "project_id": "web"}, headers={"Accept": "*/*"}
    )
    assert set(shown.json()["turns"][0]) == {"seq", "role", "content", "at"}


@pytest.mark.parametrize("text", ["{", "[]", "5", '{"a": "\\u0000"}', '{"a": 1, "a": 2}', "[" * 5_000])
def test_what_json_refuses_a_form_refuses_on_a_page(browser: Client, text: str) -> None:
    answer = browser.post("/memory-logs", FORM | {"raw_data": text} | form_token(browser))

    assert answer.status_code == 400
    assert answer["Content-Type"].startswith("text/html")
    assert "/raw_data" in answer.content.decode()


def test_a_form_of_another_site_stores_nothing_even_where_the_api_is_open(browser: Client) -> None:
    assert browser.post("/memory-logs", FORM).status_code == 403
    assert not MemoryLog.objects.exists()


def test_where_keys_are_required_a_superusers_session_browses(
    settings: Any, admin_user: Any, browser: Client
) -> None:
    settings.SEMANTIX_AUTH = "required"
    refused = browser.get("/memory-logs")
    assert refused.status_code == 401
    assert "/admin/login/?next=/memory-logs" in refused.content.decode()

    browser.force_login(admin_user)

    assert browser.post("/memory-logs", FORM | form_token(browser)).status_code == 201


def test_the_root_leads_to_the_documentation(browser: Client) -> None:
    assert browser.get("/")["Location"] == "/docs"
