"""Whatever goes wrong is told in one form: application/problem+json."""

from typing import Any

import psycopg
import pytest
from django.db import OperationalError
from django.test import Client, RequestFactory

from memories.api.errors import ServiceUnavailable
from memories.api.problems import translated
from memories.models import MemoryLog
from outbox import Unavailable
from semantix.web.problem_pages import server_error
from tests.support.keys import memory

pytestmark = pytest.mark.django_db

ONE = memory("alice", "web")


def post(client: Client, body: Any, path: str = "/memory-logs", **options: Any) -> Any:
    options.setdefault("content_type", "application/json")
    return client.post(path, body, **options)


def the_problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["type"].startswith("urn:semantix:problem:")
    assert document["title"]
    assert document["detail"]
    return document


def test_errors_point_to_the_fields(client: Client) -> None:
    problem = the_problem(
        post(client, {"user_id": "alice", "project_id": 5, "task": "", "agent": "coder"}), 400
    )

    assert problem["type"] == "urn:semantix:problem:invalid"
    assert {error["pointer"] for error in problem["errors"]} == {"/project_id", "/task"}
    assert all(error["detail"] for error in problem["errors"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not valid JSON"),
        (b"\xff{}", "not UTF-8"),
        (b"[" * 100_000, "nested"),
        (b"", "required"),
        (b"[]", "Send a list to POST /memory-logs/batch"),
        (b"5", "dictionary"),
        (b"null", "No data"),
    ],
)
def test_a_body_that_is_no_object_of_json_is_400(client: Client, body: bytes, said: str) -> None:
    assert said in str(the_problem(post(client, body), 400))


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nothing-here", "get", 404),
        ("/memory-logs/", "get", 404),
        ("/memory-logs/9", "get", 404),
        ("/memory-logs/99999999999999999999999999", "get", 404),
        ("/memory-logs", "patch", 405),
        ("/health/live", "post", 405),
        ("/static/nothing.css", "get", 404),
    ],
)
def test_what_is_not_there_or_not_possible(client: Client, path: str, method: str, status: int) -> None:
    answer = getattr(client, method)(path)

    the_problem(answer, status)
    assert status != 405 or "GET" in answer["Allow"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nothing-here/", "There is nothing at /nothing-here/. /docs lists all addresses."),
        ("/memory-logs/", "There is nothing at /memory-logs/. Remove the slash: /memory-logs exists."),
        ("/memory-logs/9", "This id does not exist, or this request may not see it."),
    ],
)
def test_a_404_says_what_is_missing_and_where_to_look(client: Client, path: str, said: str) -> None:
    assert the_problem(client.get(path), 404)["detail"] == said


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/schema", "/health/live", "/health/ready", "/metrics", "/memory-logs/events"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_what_is_only_read_says_so_rather_than_miss_a_token(path: str, method: str) -> None:
    client = Client(enforce_csrf_checks=True)

    answer = client.generic(method, path, "{}", content_type="application/json")

    assert "GET" in answer["Allow"]
    the_problem(answer, 405)


def test_what_cannot_be_answered_or_read(client: Client) -> None:
    the_problem(client.get("/memory-logs", headers={"Accept": "application/xml"}), 406)
    the_problem(post(client, "a: 1", content_type="application/yaml"), 415)


def test_a_body_above_the_limit_is_413(client: Client, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100

    assert "MAX_BODY_BYTES" in the_problem(post(client, ONE | {"task": "x" * 100}), 413)["detail"]


def test_a_host_that_is_not_ours_is_400(client: Client) -> None:
    assert (
        "ALLOWED_HOSTS"
        in the_problem(client.get("/health/live", headers={"Host": "evil.example"}), 400)["detail"]
    )


def test_a_crash_is_500_with_the_id_under_which_the_log_has_it(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def crash(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr("memories.api.views.memory_logs.create_memory", crash)
    client.raise_request_exception = False

    answer = post(client, ONE, headers={"X-Request-ID": "abc-1"})

    problem = the_problem(answer, 500)
    assert "abc-1" in problem["detail"]
    assert answer["X-Request-ID"] == "abc-1"
    assert "secret" not in answer.content.decode()
    assert "secret" in caplog.text
    assert "abc-1" in caplog.text


def test_a_person_sees_the_problem_on_a_page(client: Client) -> None:
    answer = client.get("/memory-logs/9", headers={"Accept": "text/html"})

    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")
    assert "urn:semantix:problem:not-found" in answer.content.decode()


MARKUP = "<script>alert(1)</script>"


def test_a_page_escapes_what_the_request_said(client: Client) -> None:
    answer = client.get("/memory-logs", {MARKUP: 1}, headers={"Accept": "text/html"})

    assert MARKUP not in answer.content.decode()
    assert "Unknown parameter" in answer.content.decode()


def test_the_admins_error_page_escapes_the_error(rf: RequestFactory) -> None:
    try:
        raise Unavailable("chroma", MARKUP)
    except Unavailable:
        answer = server_error(rf.get("/admin/"))

    assert answer.status_code == 503
    assert MARKUP not in answer.content.decode()
    assert "&lt;script&gt;" in answer.content.decode()


def test_the_admins_errors_stay_pages(admin_client: Client) -> None:
    answer = admin_client.get("/admin/nothing/here/")

    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")


def test_nothing_of_a_refused_request_is_stored(client: Client) -> None:
    the_problem(post(client, ONE | {"raw_data": {"a": "\x00"}}), 400)

    assert not MemoryLog.objects.exists()


def test_a_full_disk_is_told_to_the_client_and_the_file_only_to_the_operator(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = 'could not extend file "base/16384/17360": No space left on device'
    error = OperationalError(told)
    error.__cause__ = psycopg.errors.DiskFull(told)

    problem = translated(error)

    assert isinstance(problem, ServiceUnavailable)
    assert str(problem.detail).startswith("PostgreSQL has no room on its disk. Nothing of this request was")
    assert "base/16384" in caplog.text
