"""A word goes in through every door of a running service; after an erasure it is in no store and no file."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from tests.support.failing_embedder import REFUSED
from tests.support.leftovers import files_with
from tests.support.redis_server import RedisServer
from tests.support.running import Up
from tests.support.tenants import new_tenant
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(400)

WORD = "xylophone7431"


def write_everywhere(up: Up, tenant: dict[str, str]) -> None:
    """Task, key, value, tag, an id, a change, deletions, turns, an answer, searches, errors of a handler and of SQL."""
    body: dict[str, Any] = tenant | {
        "task": WORD,
        "agent": WORD,
        "raw_data": {WORD: WORD, "tags": [WORD], "deep": [{"x": WORD}]},
    }
    with httpx.Client(base_url=up.url, timeout=60) as client:
        stored = client.post("/memory-logs", json=body, headers={"Idempotency-Key": "once"}).json()
        client.patch(f"/memory-logs/{stored['id']}", json={"task": "changed"})
        deleted = client.post("/memory-logs", json=body).json()
        client.delete(f"/memory-logs/{deleted['id']}")
        client.post("/memory-logs/batch", json=[body, body])
        client.put(f"/memory-logs/external/{WORD}", json=body).raise_for_status()
        taken = client.post("/memory-logs", json=body | {"external_id": WORD})
        assert taken.status_code == 409  # PostgreSQL refused the row
        client.post("/memory-logs", json=body | {"task": f"{WORD} {REFUSED}"}).raise_for_status()
        wanted = json.dumps({"task": {"contains": f"{WORD} of nobody"}})
        client.delete("/memory-logs", params=tenant | {"filter": wanted, "confirm": 0}).raise_for_status()
        for conversation in ("saved", "waiting"):
            turn = tenant | {"role": "user", "content": WORD}
            client.post(f"/conversations/{conversation}/turns", json=turn).raise_for_status()
        client.post("/conversations/saved/close", json=tenant).raise_for_status()
        searched = tenant | {"query": WORD, "filter": {"tags": WORD}}
        client.post("/memory-logs/search", json=searched).raise_for_status()
        client.post("/memory-logs/search/batch", json=[searched, {"query": WORD, WORD: WORD}])


def test_after_an_erasure_the_word_is_in_no_table_no_log_and_no_file(tmp_path: Path) -> None:
    tenant = new_tenant()._asdict()
    data = tmp_path / "data"
    failing = {
        "EMBEDDING_BACKEND": "tests.support.failing_embedder.FailingEmbedder",
        "OUTBOX_MAX_ATTEMPTS": "1",
    }
    with RedisServer(tmp_path) as redis, Up(data, REDIS_URL=redis.url, **failing) as up:
        up.wait_until_up()
        write_everywhere(up, tenant)
        imported = tmp_path / "import.jsonl"
        imported.write_text(
            f'{{"user_id": "{tenant["user_id"]}", "project_id": "project", "task": "{WORD}", "agent": "a"}}\n'
        )
        up.manage("load_memories", str(imported))
        wait_until(up.is_idle, seconds=60)
        assert up.indexed() == 6
        [(traceback,)] = up.ask("SELECT traceback FROM outbox_failure")
        assert WORD in traceback
        assert in_redis(redis) != []

        receipt = up.post("/erasures", {"user_id": tenant["user_id"]})
        wait_until(lambda: status(up, receipt)["status"] in ("done", "failed"), seconds=60)

        assert status(up, receipt)["verified"], status(up, receipt)
        assert up.indexed() == 0
        tables = [
            name
            for (name,) in up.ask(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            )
        ]
        left = [
            table
            for table in tables
            if up.ask(f"SELECT FROM \"{table}\" t WHERE strpos(t::text, '{WORD}') > 0")
        ]
        assert left == []
        assert in_redis(redis) == []
        assert WORD not in httpx.get(f"{up.url}/metrics", timeout=60).text
        assert WORD not in up.output
        up.stop()

    with Up(data) as up:  # the start after an erasure vacuums the index
        up.wait_until_up()
        up.stop()

    # PostgreSQL's own files keep freed pages and its write-ahead log: the receipt says so.
    files = [path for path in files_with(WORD, data) if data / "postgres" not in path.parents]
    assert files == []


def in_redis(redis: RedisServer) -> list[str]:
    """The keys that have the word in their name or in their value."""
    with Redis.from_url(redis.url) as client:
        return [
            repr(key) for key in client.scan_iter() if WORD.encode() in key + bytes(client.dump(key) or b"")
        ]


def status(up: Up, receipt: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{up.url}/erasures/{receipt['id']}", timeout=60).json()
    return found
