"""What a key already says need not be repeated: user_id and project_id default from it, in every body and query."""

from collections.abc import Callable
from typing import Any

import pytest

from outbox.testing import drain
from tests.support.keys import client_with, new_key
from tests.support.tenants import new_tenant
from tests.support.two_tenants import Actor

pytestmark = pytest.mark.django_db(transaction=True)

MEMORY = {"task": "Fix the login", "agent": "coder"}
TURN = {"role": "user", "content": "Where is my order?"}

# Each request names no tenant.
REQUESTS: dict[str, Callable[[Actor], Any]] = {
    "create": lambda actor: actor.send("POST", "/memory-logs", MEMORY),
    "create a batch": lambda actor: actor.send("POST", "/memory-logs/batch", [MEMORY, MEMORY]),
    "create by external id": lambda actor: actor.send("PUT", "/memory-logs/external/one", MEMORY),
    "read by external id": lambda actor: actor.get("/memory-logs/external/known"),
    "delete by external id": lambda actor: actor.send("DELETE", "/memory-logs/external/known"),
    "list": lambda actor: actor.get("/memory-logs"),
    "count": lambda actor: actor.get("/memory-logs/count"),
    "search": lambda actor: actor.send("POST", "/memory-logs/search", {"query": "login"}),
    "search a batch": lambda actor: actor.send("POST", "/memory-logs/search/batch", [{"query": "login"}]),
    "delete many": lambda actor: actor.send("DELETE", "/memory-logs?agent=coder&confirm=1"),
    "tenants": lambda actor: actor.get("/tenants"),
    "export": lambda actor: actor.get("/exports"),
    "erase": lambda actor: actor.send("POST", "/erasures", {}),
    "receipts": lambda actor: actor.get("/erasures"),
    "say": lambda actor: actor.send("POST", "/conversations/new/turns", TURN),
    "say several": lambda actor: actor.send("POST", "/conversations/new/turns", {"turns": [TURN, TURN]}),
    "conversations": lambda actor: actor.get("/conversations"),
    "transcript": lambda actor: actor.get("/conversations/talk"),
    "search turns": lambda actor: actor.send("POST", "/conversations/turns/search", {"query": "order"}),
    "save": lambda actor: actor.send("POST", "/conversations/talk/close", {}),
    "forget a conversation": lambda actor: actor.send("DELETE", "/conversations/talk"),
}


@pytest.fixture
def actor() -> Actor:
    """Somebody with a key of one project, a memory with an external id, and a conversation."""
    tenant = new_tenant()
    actor = Actor(tenant, client_with(new_key(*tenant)))
    actor.remember(external_id="known")
    assert actor.send("POST", "/conversations/talk/turns", tenant._asdict() | TURN).status_code == 202
    drain()
    return actor


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_a_request_names_no_tenant_that_its_key_names(actor: Actor, request_: Callable[[Actor], Any]) -> None:
    answer = request_(actor)

    assert answer.status_code < 300, answer.content


def test_what_is_stored_so_belongs_to_the_keys_tenant(actor: Actor) -> None:
    stored = actor.send("POST", "/memory-logs", MEMORY).json()

    assert (stored["user_id"], stored["project_id"]) == actor.tenant


def test_a_key_of_several_projects_says_only_whose_they_are(actor: Actor) -> None:
    wide = Actor(actor.tenant, client_with(new_key(actor.tenant.user_id)))

    refused = wide.send("POST", "/memory-logs", MEMORY)
    stored = wide.send("POST", "/memory-logs", MEMORY | {"project_id": "another"})

    assert refused.status_code == 400
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/project_id"]
    assert stored.json()["user_id"] == actor.tenant.user_id
