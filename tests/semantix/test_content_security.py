"""Pages may load and run only what this service sends. That they still work is tested in a browser."""

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db

HEADER = "Content-Security-Policy"
HTML = {"Accept": "text/html"}


@pytest.mark.parametrize("path", ["/docs", "/memory-logs", "/memory-logs/search", "/memory-logs/999"])
def test_a_page_runs_scripts_of_this_service_only(client: Client, path: str) -> None:
    policy = client.get(path, headers=HTML)[HEADER]

    assert "script-src 'self';" in policy
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/admin/outbox/event/", "/admin/live"])
def test_the_admin_may_also_evaluate_as_its_theme_does(admin_client: Client, path: str) -> None:
    assert "script-src 'self' 'unsafe-eval';" in admin_client.get(path, follow=True)[HEADER]


def test_an_answer_that_is_no_page_has_no_policy(client: Client) -> None:
    assert HEADER not in client.get("/memory-logs")


def test_the_documentation_has_no_script_of_its_own(client: Client) -> None:
    page = client.get("/docs").content.decode()

    assert page.count("<script") == page.count("<script src=") > 0
