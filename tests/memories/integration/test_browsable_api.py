"""The API in a browser: pages with forms that work, for callers who may use them."""

import json
import re
from html import unescape
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
        f"/memory-logs/{number}/similar",
        "/memory-logs/count",
        "/tenants",
    ):
        page = browser.get(path).content.decode()
        assert "– Semantix</title>" in page
        assert 'href="/docs"' in page


@pytest.mark.parametrize("path", ["/memory-logs", "/memory-logs/search"])
def test_a_form_asks_for_every_field(browser: Client, path: str) -> None:
    page = browser.get(path).content.decode()

    assert 'name="user_id"' in page
    assert 'enctype="multipart/form-data"' in page


@pytest.mark.parametrize(
    "path",
    ["/memory-logs/search", "/memory-logs/search/batch", "/memory-logs/batch", "/conversations/talk/turns"],
)
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


def test_a_form_searches_by_a_filter_or_without_one(browser: Client) -> None:
    MemoryLog.objects.all().delete()
    for agent in ("ann", "bob"):
        browser.post(
            "/memory-logs", memory("alice", "web", agent=agent), content_type="application/json", headers=HTML
        )
    form = {"user_id": "alice", "project_id": "web", "query": "login", "limit": "10", "mode": "lexical"}
    form |= {"min_similarity": "0.0", "raw_data": "{}"} | form_token(browser, "/memory-logs/search")

    def found(filter: str) -> Any:
        return browser.post("/memory-logs/search", form | {"filter": filter}, headers=HTML)

    assert len(found("").data) == 2
    assert [hit["metadata"]["agent"] for hit in found('{"agent": "ann"}').data] == ["ann"]
    assert found("{").status_code == 400


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


class TestFilledForms:
    """A form keeps what was asked, and begins with what stands."""

    @pytest.fixture
    def number(self, browser: Client) -> int:
        browser.post("/memory-logs", FORM | {"task": 'Say "hello"'} | form_token(browser))
        return MemoryLog.objects.get().pk

    def shown(self, browser: Client, path: str, method: str = "get", **options: Any) -> str:
        return unescape(getattr(browser, method)(path, **options).content.decode())

    def test_the_form_of_put_begins_with_the_memory(self, browser: Client, number: int) -> None:
        page = self.shown(browser, f"/memory-logs/{number}")

        put = page[page.index('id="put-object-form"') :]
        assert 'value="Say "hello""' in put
        assert '"tags": [\n        "a"\n    ]' in put

    def test_the_raw_tab_of_put_is_a_body_that_may_be_sent_back(self, browser: Client, number: int) -> None:
        page = self.shown(browser, f"/memory-logs/{number}")

        [content] = re.findall(
            r'<textarea[^>]*data-override="content"[^>]*>(.*?)</textarea>', page, re.DOTALL
        )
        body = json.loads(content)
        assert body["task"] == 'Say "hello"'
        assert body["raw_data"] == {"tags": ["a"]}
        sent = browser.put(
            f"/memory-logs/{number}",
            content,
            content_type="application/json",
            headers={"Accept": "application/json"},
        )
        assert sent.status_code == 200, sent.content

    def test_a_form_that_was_refused_keeps_what_was_written(self, browser: Client) -> None:
        page = self.shown(
            browser, "/memory-logs", "post", data=FORM | {"agent": "", "task": "Kept"} | form_token(browser)
        )

        assert "400 Bad Request" in page
        assert 'value="Kept"' in page
        assert '{"tags": ["a"]}' in page

    def test_a_form_is_empty_after_it_stored_a_memory(self, browser: Client) -> None:
        page = self.shown(browser, "/memory-logs", "post", data=FORM | form_token(browser))

        assert "201 Created" in page
        assert f'value="{FORM["task"]}"' not in page

    def test_a_search_keeps_its_query_and_mode(self, browser: Client) -> None:
        asked = {"query": "lost cookie", "user_id": "alice", "project_id": "web", "mode": "lexical"}
        page = self.shown(
            browser, "/memory-logs/search", "post", data=asked | form_token(browser, "/memory-logs/search")
        )

        assert "200 OK" in page
        assert 'value="lost cookie"' in page
        assert re.search(r'<option value="lexical" selected', page)

    def test_a_search_that_was_sent_as_json_stays_in_both_tabs(self, browser: Client) -> None:
        body = {"query": "lost cookie", "user_id": "alice", "project_id": "web", "tags": ["a"]}
        page = self.shown(
            browser, "/memory-logs/search", "post", data=json.dumps(body), content_type="application/json"
        )

        assert 'value="lost cookie"' in page
        [content] = re.findall(
            r'<textarea[^>]*data-override="content"[^>]*>(.*?)</textarea>', page, re.DOTALL
        )
        assert json.loads(content) == body

    def test_the_raw_tab_of_a_search_begins_with_a_body_that_only_lacks_its_words(
        self, browser: Client
    ) -> None:
        page = self.shown(browser, "/memory-logs/search")

        [content] = re.findall(
            r'<textarea[^>]*data-override="content"[^>]*>(.*?)</textarea>', page, re.DOTALL
        )
        body = json.loads(content) | {"query": "cookie", "user_id": "alice", "project_id": "web"}
        body = {name: value for name, value in body.items() if value not in ("", None)}
        sent = browser.post(
            "/memory-logs/search",
            json.dumps(body),
            content_type="application/json",
            headers={"Accept": "application/json"},
        )
        assert sent.status_code == 200, sent.content

    def test_the_parameters_of_an_address_begin_its_form(self, browser: Client) -> None:
        page = self.shown(browser, "/memory-logs/search?query=cookie&user_id=alice")

        assert 'value="cookie"' in page
        assert 'value="alice"' in page

    @pytest.mark.parametrize("path", ["/memory-logs", "/memory-logs/search", "/memory-logs/batch"])
    @pytest.mark.parametrize("body", ["{", "[]", '"x"', "[1]", "{}", '{"raw_data": 5}'])
    def test_no_body_breaks_the_page(self, browser: Client, path: str, body: str) -> None:
        answer = browser.post(path, body, content_type="application/json")

        assert answer.status_code == 400
        assert answer["Content-Type"].startswith("text/html")

    def test_what_was_written_is_escaped(self, browser: Client) -> None:
        evil = "</textarea><script>alert(1)</script>"
        page = browser.post("/memory-logs", FORM | {"agent": "", "task": evil} | form_token(browser))

        assert "<script>alert" not in page.content.decode()


def test_the_stream_tells_a_person_what_it_is(browser: Client) -> None:
    page = browser.get("/memory-logs/events", headers={"Accept": "text/html,*/*;q=0.8"})

    assert page["Content-Type"].startswith("text/html")
    assert "curl -N" in page.content.decode()


def test_the_pages_are_made_for_a_phone(browser: Client) -> None:
    assert 'name="viewport"' in browser.get("/memory-logs").content.decode()
