"""The Python client against a running service, synchronous and asynchronous."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from memories.models import MemoryLog
from semantix_client import (
    AsyncSemantix,
    Forbidden,
    Invalid,
    NotAuthenticated,
    NotFound,
    Semantix,
    TenantTotal,
    Unavailable,
    Unreachable,
)
from tests.clients.conftest import Account
from tests.support.free_port import free_port
from tests.support.keys import new_key
from tests.support.paths import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def semantix(service: str, account: Account) -> Iterator[Semantix]:
    with Semantix(service, account.key, *account.tenant) as client:
        yield client


def test_three_lines_remember_and_two_search(semantix: Semantix) -> None:
    memory = semantix.remember(
        task="Fix the login timeout", raw_data={"solution": "Refresh the token first."}, wait=20
    )

    hits = semantix.search("users are logged out at the login")

    assert memory.status == "indexed"
    assert [hit.memory.id for hit in hits if hit.memory] == [memory.id]
    assert hits[0].memory == semantix.get(memory.id)
    assert hits[0].score > 0


def test_a_memory_is_read_changed_and_forgotten(semantix: Semantix) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    memory = semantix.remember(task="first", agent="ada", expires_at=later)
    assert memory.expires_at == later

    changed = semantix.update(memory.id, task="second", expires_at=None)
    assert (changed.task, changed.agent, changed.version, changed.expires_at) == ("second", "ada", 2, None)
    assert [found.id for found in semantix.recent(agent="ada")] == [memory.id]

    semantix.forget(memory.id)
    with pytest.raises(NotFound):
        semantix.get(memory.id)


def test_an_agent_that_repeats_itself_stores_nothing_or_a_link(semantix: Semantix) -> None:
    first = semantix.remember(task="Fix the login timeout", wait=20)

    skipped = semantix.remember(task="Fix the login timeout", if_similar="skip")
    linked = semantix.remember(task="Fix the login timeout", if_similar="link")

    assert (skipped.id, linked.similar_to, linked.duplicate_of) == (first.id, first.id, first.id)
    assert MemoryLog.objects.count() == 2


def test_updates_at_the_same_time_lose_nothing(semantix: Semantix) -> None:
    memory = semantix.remember(task="count", raw_data={"n": 0})

    def count() -> None:
        for _ in range(5):
            semantix.update(memory.id, lambda m: {"raw_data": {"n": m.raw_data["n"] + 1}})

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert semantix.get(memory.id).raw_data == {"n": 15}


def test_many_are_stored_in_order_over_several_batches(semantix: Semantix) -> None:
    ids = semantix.remember_many({"task": f"number {n}", "agent": "ada"} for n in range(1100))

    assert len(ids) == 1100
    assert ids == sorted(ids)
    assert MemoryLog.objects.get(id=ids[700]).task == "number 700"


def test_a_conversation_keeps_the_turns_of_agents_to_the_letter(semantix: Semantix) -> None:
    talk = semantix.conversation("support/1")
    call = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}

    assert talk.add("user", "Where is my order?").first == 1
    talk.add("assistant", None, tool_calls=[call])
    talk.add_many([{"role": "tool", "tool_call_id": "1", "content": "on its way"}])

    turns = talk.turns()
    assert [turn["seq"] for turn in turns] == [1, 2, 3]
    assert turns[1]["tool_calls"] == [call]
    talk.save()
    assert len(talk.turns(after=2)) == 1


def test_events_come_and_a_broken_stream_is_resumed(semantix: Semantix) -> None:
    seen: list[int | None] = []
    listening = threading.Event()

    def listen() -> None:
        for event in semantix.events(types=["vector.stored"]):
            seen.append(event.memory_id)
            listening.set()
            if len(seen) == 3:
                return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    ids = []
    while not listening.wait(0.2):  # until the stream is open
        ids.append(semantix.remember(task="one", wait=20).id)
    while thread.is_alive():
        ids.append(semantix.remember(task="more", wait=20).id)
        thread.join(0.2)

    assert len(seen) == 3
    assert set(seen) <= set(ids)


def test_an_erasure_is_verified(semantix: Semantix) -> None:
    semantix.remember(task="secret", wait=20)

    erasure = semantix.erase()

    assert (erasure.status, erasure.verified) == ("done", True)
    assert semantix.recent() == []


def test_the_export_has_everything_once(semantix: Semantix) -> None:
    ids = semantix.remember_many({"task": f"number {n}", "agent": "ada"} for n in range(700))

    assert [line["id"] for line in semantix.export()] == ids


@pytest.mark.parametrize(
    ("key", "user", "error"),
    [("wrong", None, NotAuthenticated), (None, None, NotAuthenticated), ("", "x", Forbidden)],
)
def test_who_may_not_is_told_so(
    service: str, account: Account, key: str | None, user: str | None, error: type[Exception]
) -> None:
    chosen = account.key if key == "" else key

    with Semantix(service, chosen, user or account.tenant.user_id, "project") as client, pytest.raises(error):
        client.recent()


def test_what_is_refused_names_the_field(semantix: Semantix) -> None:
    with pytest.raises(Invalid) as refused:
        semantix.remember(task="", raw_data={})

    assert refused.value.status == 400
    assert refused.value.errors[0]["pointer"] == "/task"


def test_a_service_that_is_away_is_an_error_and_nothing_is_dropped_in_silence() -> None:
    url = f"http://127.0.0.1:{free_port()}"

    with (
        Semantix(url, user_id="a", project_id="b", patience=0.5) as client,
        pytest.raises(Unreachable, match=r"127\.0\.0\.1"),
    ):
        client.remember(task="lost?")


class Flaky:
    """A proxy before the service that loses the answer of each first request, or asks to come again."""

    def __init__(self, service: str, fault: str) -> None:
        seen: set[str] = set()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                is_first = self.headers.get("Idempotency-Key", "") not in seen
                seen.add(self.headers.get("Idempotency-Key", ""))
                if is_first and fault == "busy":
                    self.send_response(503)
                    self.send_header("Retry-After", "0")
                    self.end_headers()
                    return
                answer = httpx.post(service + self.path, content=body, headers=headers, timeout=60)
                if is_first:
                    self.connection.close()  # the write has happened, and the client does not learn of it
                    return
                self.send_response(answer.status_code)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_arguments: Any) -> None:
                """Quiet."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize("fault", ["lost", "busy"])
def test_a_write_whose_answer_is_lost_happens_once(service: str, account: Account, fault: str) -> None:
    with Flaky(service, fault) as proxy, Semantix(proxy.url, account.key, *account.tenant) as client:
        memory = client.remember(task="once")

    assert [row.id for row in MemoryLog.objects.all()] == [memory.id]


def test_a_service_that_stays_busy_is_told_after_the_clients_patience() -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(503, headers={"Retry-After": "30"}))
    client = Semantix("http://service", patience=1, http=httpx.Client(transport=transport))

    with pytest.raises(Unavailable) as error:
        client.recent()

    assert error.value.retry_after == 30


def test_the_asynchronous_client_does_the_same(service: str, account: Account) -> None:
    async def work() -> tuple[Any, Any, Any]:
        async with AsyncSemantix(service, account.key, *account.tenant) as client:
            memory = await client.remember(task="Fix the login timeout", wait=20)
            hits = await client.search("login timeout")
            await client.conversation("talk").add("user", "hello")
            exported = [line async for line in client.export(include=["conversations"])]
            return memory, hits, exported

    memory, hits, exported = asyncio.run(work())

    assert [hit.memory_id for hit in hits] == [memory.id]
    assert [line.get("id", "conversation") for line in exported] == [memory.id, "conversation"]


def test_the_synchronous_client_is_made_from_the_asynchronous_one() -> None:
    tool = Path(ROOT, "clients/python/tools/make_sync.py")
    assert subprocess.run([sys.executable, str(tool), "--check"], check=False).returncode == 0


def test_filters_narrow_a_search_a_list_and_a_count(semantix: Semantix) -> None:
    done = semantix.remember(task="Fix the login", raw_data={"solution": {"status": "done"}})
    semantix.remember(task="Fix the login", raw_data={"solution": {"status": "open"}})
    wanted = {"raw_data.solution.status": {"in": ["done", "merged"]}}

    assert [hit.memory_id for hit in semantix.search("login", filter=wanted)] == [done.id]
    assert [memory.id for memory in semantix.recent(filter=wanted)] == [done.id]
    assert [memory.id for memory in semantix.memories(filter=wanted)] == [done.id]
    assert (semantix.count(filter=wanted), semantix.count()) == (1, 2)
    with pytest.raises(Invalid) as refused:
        semantix.search("login", filter={"agnt": "ada"})
    assert refused.value.errors[0]["pointer"] == "/filter/agnt"


def test_many_questions_are_answered_each_apart(semantix: Semantix) -> None:
    memory = semantix.remember(task="Fix the login")
    questions: list[dict[str, Any]] = [{"query": "login"}] * 40
    questions[1] = {"query": "login", "limit": 0}

    answers = semantix.search_many(questions)

    assert len(answers) == 40
    assert isinstance(answers[1], Invalid)
    assert answers[1].errors[0]["pointer"] == "/limit"
    found = [answer for answer in answers if isinstance(answer, list)]
    assert [[hit.memory_id for hit in hits] for hits in found] == [[memory.id]] * 39


def test_similar_memories_are_found_and_hits_explained(semantix: Semantix) -> None:
    one = semantix.remember(task="Fix the login redirect", wait=20)
    near = semantix.remember(task="Fix the login redirect loop", wait=20)

    [hit] = semantix.similar(one.id)
    explained = semantix.search("redirect loop", explain=True)[0].explain

    assert hit.memory == semantix.get(near.id)
    assert explained
    assert explained["words"]["place"] == 1


def test_a_key_of_a_user_searches_all_projects_and_lists_them(service: str, account: Account) -> None:
    user_id = account.tenant.user_id
    with Semantix(service, new_key(user_id), user_id, "first") as semantix:
        first = semantix.remember(task="Fix the login")
        second = semantix.remember(task="Fix the login", project_id="second")

        hits = semantix.search("login", all_projects=True)

        assert {hit.memory_id for hit in hits} == {first.id, second.id}
        assert [hit.memory_id for hit in semantix.search("login")] == [first.id]
        assert list(semantix.tenants()) == [
            TenantTotal(user_id, "first", 1),
            TenantTotal(user_id, "second", 1),
        ]
