"""Who calls a tool, and the REST API on their behalf."""

import json
from dataclasses import dataclass
from typing import Any

import httpx
from mcp.server.mcpserver.exceptions import ToolError

from memories.api.problems import UNSEEN
from memories.tenants import Tenant

# Seconds: longer than any wait that a tool takes.
TIMEOUT = 90.0


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A caller of /mcp: the tenant of its memories, and how its requests reach the REST API.

    `throttled_as`: the prefix of the key or, without a key, the address; THROTTLE_RATE counts by it.
    """

    tenant: Tenant
    may_erase: bool
    throttled_as: str
    headers: dict[str, str]
    scheme: str
    transport: httpx.AsyncBaseTransport

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """The answer of the REST API. Raises ToolError with the detail of a problem."""
        headers = {**self.headers, **(headers or {})}
        if body is not None:
            headers["content-type"] = "application/json"
        async with httpx.AsyncClient(
            transport=self.transport, base_url=f"{self.scheme}://mcp", timeout=TIMEOUT
        ) as client:
            response = await client.request(method, path, content=_json(body), params=params, headers=headers)
        if not response.is_success:
            raise ToolError(_told(response))
        return response.json() if response.content else None

    async def visible(self, path: str, *, params: dict[str, Any] | None = None) -> Any:
        """The same for a memory by its id, which must be one of the tenant: a key may open several."""
        found = await self.request("GET", path, params=params)
        if Tenant(found["user_id"], found["project_id"]) != self.tenant:
            raise ToolError(UNSEEN)
        return found


def _json(body: Any) -> bytes | None:
    """Also of what is not strict JSON (NaN, a lone surrogate): the REST API refuses it, and names the place."""
    return None if body is None else json.dumps(body).encode()


def _told(response: httpx.Response) -> str:
    """What an agent can act on: the detail, each place, and when to come again."""
    try:
        problem = response.json()
    except ValueError:
        return f"The service answered {response.status_code}."
    places = (f"{error['pointer']}: {error['detail']}" for error in problem.get("errors", ()))
    wait = response.headers.get("Retry-After")
    return " ".join([problem["detail"], *places, *([f"Try again in {wait} seconds."] if wait else [])])
