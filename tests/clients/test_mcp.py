"""The Model Context Protocol at /mcp, with the SDK's own client."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters

from memories.models import APIKey, Erasure, MemoryLog, MemoryVersion
from memories.tenants import Tenant
from semantix_client import mcp as bridge
from tests.clients.conftest import Account
from tests.support.free_port import free_port
from tests.support.keys import new_key
from tests.support.mcp import LIST_TOOLS, call, refused, send, tools, use
from tests.support.paths import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

TOOLS = {"remember", "search_memories", "get_memory", "update_memory", "forget_memory", "recent_memories"}
MODES = ["auto", "legacy"]


@pytest.mark.parametrize("mode", MODES)
def test_an_agent_remembers_and_finds_by_meaning(service: str, account: Account, mode: str) -> None:
    async def work(client: Client) -> Any:
        stored = await client.call_tool(
            "remember",
            {"task": "Fix the login timeout", "raw_data": {"tags": ["auth"]}, "wait_until_searchable": True},
        )
        found = await client.call_tool("search_memories", {"query": "login timeout", "tags": ["auth"]})
        return stored.structured_content, found.structured_content

    stored, found = use(service, account.key, work, mode=mode)

    assert stored["searchable"] is True
    assert [hit["memory"]["id"] for hit in found["hits"]] == [stored["id"]]
    assert found["hits"][0]["memory"]["task"] == "Fix the login timeout"


@pytest.mark.parametrize("mode", MODES)
def test_the_tools_say_what_they_do_and_never_ask_for_a_tenant(
    service: str, account: Account, mode: str
) -> None:
    listed = use(service, account.key, lambda client: client.list_tools(), mode=mode)

    offered = {tool.name: tool for tool in listed.tools}
    assert offered.keys() == TOOLS | {"erase_everything"}
    for tool in offered.values():
        assert tool.title
        assert tool.description
        assert tool.output_schema
        assert tool.annotations.open_world_hint is False
        assert not {"user_id", "project_id"} & tool.input_schema["properties"].keys()
    assert offered["search_memories"].annotations.read_only_hint is True
    assert offered["forget_memory"].annotations.destructive_hint is True


def test_an_agent_searches_by_a_filter_and_learns_what_is_wrong_with_it(
    service: str, account: Account
) -> None:
    done = call(service, account.key, "remember", task="Fix the login", raw_data={"status": "done"})
    call(service, account.key, "remember", task="Fix the login", raw_data={"status": "open"})

    found = call(service, account.key, "search_memories", query="login", filter={"raw_data.status": "done"})
    wrong = refused(service, account.key, "search_memories", query="login", filter={"status": "done"})

    assert [hit["memory"]["id"] for hit in found["hits"]] == [done["id"]]
    assert "/filter/status: Unknown field" in wrong


def test_a_memory_is_read_changed_and_forgotten(service: str, account: Account) -> None:
    stored = call(service, account.key, "remember", task="first", agent="ada", date="2026-01-31")

    changed = call(service, account.key, "update_memory", memory_id=stored["id"], task="second")
    assert (changed["task"], changed["agent"], changed["version"]) == ("second", "ada", 2)
    assert call(service, account.key, "get_memory", memory_id=stored["id"])["date"] == "2026-01-31"
    assert call(service, account.key, "recent_memories")["memories"][0]["id"] == stored["id"]

    assert call(service, account.key, "forget_memory", memory_id=stored["id"]) == {"forgotten": stored["id"]}
    assert not MemoryLog.objects.exists()
    assert "does not exist" in refused(service, account.key, "get_memory", memory_id=stored["id"])


def test_a_memory_with_an_id_of_the_agents_own_is_replaced(service: str, account: Account) -> None:
    first = call(service, account.key, "remember", task="first", external_id="ticket/7 ü")
    second = call(service, account.key, "remember", task="second", external_id="ticket/7 ü")

    assert (second["id"], second["version"], second["external_id"]) == (first["id"], 2, "ticket/7 ü")
    assert MemoryLog.objects.get().task == "second"


def test_the_same_content_twice_is_told(service: str, account: Account) -> None:
    first = call(service, account.key, "remember", task="same")

    assert call(service, account.key, "remember", task="same")["duplicate_of"] == first["id"]


def test_resources_are_a_memory_and_its_history(service: str, account: Account) -> None:
    stored = call(service, account.key, "remember", task="first")
    call(service, account.key, "update_memory", memory_id=stored["id"], task="second")

    def read(uri: str) -> str:
        result = use(service, account.key, lambda client: client.read_resource(uri))
        return str(result.contents[0].text)

    assert '"second"' in read(f"memory://{stored['id']}")
    assert '"first"' in read(f"memory://{stored['id']}/history")


def test_another_tenants_memory_is_as_if_it_were_not_there(
    service: str, account: Account, stranger: Account
) -> None:
    stored = call(service, account.key, "remember", task="only mine")

    for tool in ("get_memory", "update_memory", "forget_memory"):
        assert refused(service, stranger.key, tool, memory_id=stored["id"]) == refused(
            service, stranger.key, tool, memory_id=2**40
        )
    assert call(service, stranger.key, "search_memories", query="only mine")["hits"] == []
    assert call(service, stranger.key, "recent_memories")["memories"] == []


def test_a_key_of_several_projects_names_one_in_the_address(service: str, account: Account) -> None:
    key = new_key(account.tenant.user_id)
    other = Tenant(account.tenant.user_id, "another/project")

    stored = call(service, key, "remember", path=f"/mcp/{other.user_id}/another%2Fproject", task="there")

    assert MemoryLog.objects.get().tenant == other
    answer = send(service, LIST_TOOLS, Authorization=f"Bearer {key}")
    assert answer.status_code == 403
    assert "/mcp/{user_id}/{project_id}" in answer.json()["error"]["message"]
    # The key opens both projects; a tool sees the one in the address only.
    path = f"/mcp/{account.tenant.user_id}/{account.tenant.project_id}"
    result = use(service, key, lambda c: c.call_tool("get_memory", {"memory_id": stored["id"]}), path=path)
    assert result.is_error


@pytest.mark.parametrize("path", ["/mcp", "/mcp/somebody/else"])
def test_without_a_key_or_with_a_revoked_one_nothing_is_answered(
    service: str, account: Account, path: str
) -> None:
    assert send(service, LIST_TOOLS, path=path).status_code == 401
    APIKey.objects.update(revoked=True)
    assert send(service, LIST_TOOLS, path=path, Authorization=f"Bearer {account.key}").status_code == 401


def test_a_key_opens_no_other_tenant_by_its_address(
    service: str, account: Account, stranger: Account
) -> None:
    path = f"/mcp/{stranger.tenant.user_id}/{stranger.tenant.project_id}"

    answer = send(service, LIST_TOOLS, path=path, Authorization=f"Bearer {account.key}")

    assert answer.status_code == 403


@pytest.mark.parametrize("mode", MODES)
def test_a_key_that_may_not_erase_is_not_offered_to(service: str, account: Account, mode: str) -> None:
    key = new_key(*account.tenant, may_erase=False)

    assert tools(service, key, mode=mode) == TOOLS
    told = refused(service, key, "erase_everything", confirm="erase everything")
    assert "may not erase" in told
    assert not Erasure.objects.exists()


def test_everything_of_the_project_is_erased_when_it_is_confirmed(service: str, account: Account) -> None:
    elsewhere = new_key(account.tenant.user_id, "another")
    kept = call(service, elsewhere, "remember", task="of another project")
    call(service, account.key, "remember", task="secret")

    assert "confirm" in refused(service, account.key, "erase_everything", confirm="yes")
    receipt = call(service, account.key, "erase_everything", confirm="erase everything")

    assert (receipt["status"], receipt["verified"]) == ("done", True)
    assert [row.id for row in MemoryLog.objects.all()] == [kept["id"]]
    assert not MemoryVersion.objects.exclude(pgh_obj_id=kept["id"]).exists()


def test_what_the_api_refuses_is_told_with_its_place(service: str, account: Account) -> None:
    told = refused(service, account.key, "remember", task="x", raw_data={"bad": "\u0000"})

    assert "/raw_data/bad" in told
    assert not MemoryLog.objects.exists()


def test_the_command_for_stdio_offers_what_the_service_offers(service: str, account: Account) -> None:
    environment = {**os.environ, "SEMANTIX_URL": service, "SEMANTIX_API_KEY": account.key}
    environment["PYTHONPATH"] = str(ROOT / "clients/python/src")
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "semantix_client.mcp"], env=environment
    )

    async def work() -> tuple[set[str], Any, Any]:
        async with Client(command) as client:
            listed = await client.list_tools()
            stored = await client.call_tool("remember", {"task": "over stdio"})
            read = await client.read_resource(f"memory://{stored.structured_content['id']}")
            return {tool.name for tool in listed.tools}, stored.structured_content, read.contents[0].text

    offered, stored, read = asyncio.run(work())

    assert offered == TOOLS | {"erase_everything"}
    assert MemoryLog.objects.get(id=stored["id"]).tenant == account.tenant
    assert '"over stdio"' in read


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "Set SEMANTIX_URL"),
        ({"SEMANTIX_URL": "http://127.0.0.1:9", "SEMANTIX_USER_ID": "a"}, "go together"),
        ({"SEMANTIX_URL": "http://127.0.0.1:9"}, "does not answer"),
    ],
)
def test_the_command_for_stdio_says_what_is_missing(environment: dict[str, str], told: str) -> None:
    path = {"PYTHONPATH": str(ROOT / "clients/python/src"), "PATH": os.environ["PATH"]}
    argv = [sys.executable, "-m", "semantix_client.mcp"]

    run = subprocess.run(
        argv, env=path | environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert run.returncode == 1
    assert told in run.stderr
    assert "Traceback" not in run.stderr


def asked(port: int) -> httpx2.Response:
    async def ask() -> httpx2.Response:
        async with bridge.Http() as http:
            return await http.post(f"http://127.0.0.1:{port}/mcp", json=LIST_TOOLS)

    return asyncio.run(ask())


def test_a_service_that_is_away_is_told_to_the_client_for_stdio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "PAUSES", (0.01,))

    answer = asked(free_port())

    assert answer.status_code == 503
    assert "does not answer" in answer.json()["error"]["message"]


def test_an_answer_that_is_lost_leaves_no_call_of_the_client_for_stdio_waiting() -> None:
    def close_instead(server: socket.socket) -> None:
        connection, _address = server.accept()
        connection.recv(1000)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=close_instead, args=[server], daemon=True).start()
        answer = asked(server.getsockname()[1])

    assert answer.status_code == 503
    assert "gave no answer" in answer.json()["error"]["message"]
