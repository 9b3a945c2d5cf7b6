"""The actors of the tenant tests: Alice; Bob, on another project of the same user; Charlie, another user."""

from typing import Any, NamedTuple

from django.test import Client

from memories.tenants import Tenant
from tests.support.keys import client_with, memory, new_key
from tests.support.tenants import new_tenant


class Actor(NamedTuple):
    """A client with the API key of one tenant."""

    tenant: Tenant
    client: Client

    def remember(self, **more: Any) -> dict[str, Any]:
        """Store a memory over the API. Returns the body of the answer."""
        answer = self.client.post("/memory-logs", self.memory(**more), content_type="application/json")
        assert answer.status_code == 201, answer.content
        body: dict[str, Any] = answer.json()
        return body

    def memory(self, **more: Any) -> dict[str, Any]:
        return memory(*self.tenant, **more)

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(path, query)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        send = getattr(self.client, method.lower())
        return send(path, body, content_type="application/json", headers=headers)


def actor(user_id: str, project_id: str) -> Actor:
    return Actor(Tenant(user_id, project_id), client_with(new_key(user_id, project_id)))


class Cast(NamedTuple):
    alice: Actor
    bob: Actor
    charlie: Actor


def new_cast() -> Cast:
    user, stranger = new_tenant().user_id, new_tenant().user_id
    return Cast(actor(user, "website"), actor(user, "app"), actor(stranger, "website"))
