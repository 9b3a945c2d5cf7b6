"""The OpenAPI document: valid, complete, its examples runnable, its page served from here."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client

from memories.api import openapi
from tests.memories.integration.test_tenants_apart import endpoints
from tests.support.keys import memory

pytestmark = pytest.mark.django_db

ROOT = Path(settings.BASE_DIR)
# No request and answer of JSON: read by machines of their own, or by people.
NOT_DESCRIBED = {"memory-logs/events", "schema", "docs", "health/live", "health/ready", "metrics"}


@pytest.fixture
def schema(client: Client) -> dict[str, Any]:
    answer = client.get("/schema")
    assert answer["Content-Type"].startswith("application/json")
    found: dict[str, Any] = answer.json()
    return found


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


def test_it_is_valid_and_without_a_warning(tmp_path: Path) -> None:
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema.yml"))


def test_every_endpoint_is_in_it(schema: dict[str, Any]) -> None:
    described = {(method, path) for method, path, _ in operations(schema)}
    there = {
        (method, "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route).replace("{pk}", "{id}"))
        for method, route in endpoints()
        if route and route not in NOT_DESCRIBED
    }

    assert described == there


def test_every_operation_says_what_it_does_and_how_it_fails(schema: dict[str, Any]) -> None:
    for method, path, operation in operations(schema):
        assert operation["summary"], (method, path)
        assert {"401", "403", "503"} <= set(operation["responses"]), (method, path)
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"]
    assert not [path for path in schema["paths"] if path.endswith("/")]


def test_every_body_has_an_example_and_every_example_runs(schema: dict[str, Any], client: Client) -> None:
    tenant = {"user_id": "ada", "project_id": "demo"}
    stored = client.post("/memory-logs", memory(*tenant.values()), content_type="application/json").json()[
        "id"
    ]
    said = tenant | {"role": "user", "content": "hello"}
    client.post("/conversations/hello/turns", said, content_type="application/json")
    for method, path, operation in operations(schema):
        if "requestBody" in operation:
            examples = operation["requestBody"]["content"]["application/json"].get("examples")
            assert examples, (method, path)
            for example in examples.values():
                url = path.replace("{id}", str(stored)).replace("{conversation_id}", "hello")
                answer = client.generic(method, url, json.dumps(example["value"]), "application/json")
                assert answer.status_code < 300, (method, path, answer.content)


def test_keys_are_asked_for_unless_the_service_is_open(client: Client, settings: Any) -> None:
    def security() -> Any:
        return client.get("/schema").json()["paths"]["/memory-logs"]["get"]["security"]

    settings.SEMANTIX_AUTH = "required"
    assert security() == [{"apiKey": []}]
    settings.SEMANTIX_AUTH = "open"
    assert {} in security()


def test_yaml_can_be_had(client: Client) -> None:
    assert b"openapi: 3" in client.get("/schema", headers={"Accept": "application/vnd.oai.openapi"}).content


def test_the_page_loads_nothing_from_elsewhere(client: Client) -> None:
    page = client.get("/docs").content.decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    sources.remove("/docs?script=")

    assert sources
    for source in sources:
        assert source.startswith("/static/"), source
        assert finders.find(source.removeprefix("/static/"))


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "DELETE"])
def test_the_page_can_only_be_read(client: Client, method: str) -> None:
    answer = client.generic(method, "/docs")

    assert answer.status_code == 405
    assert answer.json()["type"] == "urn:semantix:problem:method-not-allowed"


def test_the_page_comes_whatever_is_accepted(client: Client) -> None:
    answer = client.get("/docs", headers={"Accept": "application/json"})

    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/html")


def test_white_space_is_to_the_schema_what_it_is_to_the_service() -> None:
    ink = re.compile(openapi.INK)
    white = {chr(code) for code in range(1, 0x110000) if not ink.match(chr(code))}
    assert white == {chr(code) for code in range(0x110000) if chr(code).isspace()}


def test_the_page_lists_every_endpoint_memories_first(client: Client) -> None:
    listed = client.get("/schema?everything=yes").json()
    there = {"/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route).replace("{pk}", "{id}") for _, route in endpoints()}
    there |= {"/ws/memory-logs/events", "/mcp"}
    tags = {tag for path in listed["paths"].values() for one in path.values() for tag in one["tags"]}

    assert client.get("/docs?script=").content.decode().count("/schema?everything\\u003Dyes") == 1
    assert there - {"/", "/docs"} == set(listed["paths"])
    assert listed["tags"][0]["name"] == "memory-logs"
    assert tags == {tag["name"] for tag in listed["tags"]}
