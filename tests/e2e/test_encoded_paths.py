"""Names of conversations and external ids in the path of a request, over a real connection."""

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from tests.support.processes import environment
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

TENANT = {"user_id": "ada", "project_id": "demo"}


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[WebServer]:
    with WebServer(**environment() | {"SEMANTIX_AUTH": "open"}) as server:
        yield server


NAMES = ["plain", "a/b", "/", "a/turns", "100%/2", "a%2Fb", "a%2Fb/c", "日本/ ?#"]


@pytest.mark.parametrize("name", NAMES)
def test_a_memory_of_any_external_id_is_put_read_and_deleted(server: WebServer, name: str) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        path = f"/memory-logs/external/{quote(name, safe='')}"
        put = client.put(path, json=TENANT | {"task": "Fix the login", "agent": "coder", "external_id": name})
        assert (put.status_code, put.json()["external_id"]) == (201, name)
        assert client.get(path, params=TENANT).json()["id"] == put.json()["id"]
        assert client.delete(path, params=TENANT).status_code == 204


@pytest.mark.parametrize("name", NAMES)
def test_a_conversation_of_any_name_is_written_read_and_closed(server: WebServer, name: str) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        path = f"/conversations/{quote(name, safe='')}"
        said = client.post(f"{path}/turns", json=TENANT | {"role": "user", "content": "hello"})
        assert (said.status_code, said.json()["conversation_id"]) == (202, name)
        found = client.get(said.headers["Location"], params=TENANT).json()
        assert (found["conversation_id"], [turn["content"] for turn in found["turns"]]) == (name, ["hello"])
        assert client.post(f"{path}/close", json=TENANT).json()["state"] == "closed"


def test_a_slash_that_is_not_encoded_is_no_part_of_a_name(server: WebServer) -> None:
    assert httpx.get(f"{server.url}/conversations/a/b", params=TENANT, timeout=60).status_code == 404
