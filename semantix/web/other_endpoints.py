"""The addresses that are no operations of JSON, as /docs lists them: streams, MCP, health, metrics.

/schema leaves them out: programs make clients and tests of it, and a stream never ends.
"""

from typing import Any

Operation = dict[str, Any]

LIVE, AGENTS, OPERATION = "live updates", "agents", "health and metrics"


def _operation(
    tag: str, summary: str, description: str, media_type: str = "application/json", **more: Any
) -> Operation:
    content = {media_type: {"schema": {"type": "string"}}}
    return {
        "tags": [tag],
        "summary": summary,
        "description": description,
        "responses": {"200": {"description": "", "content": content}},
    } | more


def _query(name: str, description: str) -> dict[str, Any]:
    return {"in": "query", "name": name, "description": description, "schema": {"type": "string"}}


_NARROWED = [
    _query("user_id", "only updates of this user"),
    _query("project_id", "only updates of this project of the user"),
    _query("last_event_id", "begin after this position"),
]
_KEY: list[dict[str, list[str]]] = [{"apiKey": []}, {}]

# By path, and then by method.
OTHERS: dict[str, dict[str, Operation]] = {
    "/memory-logs/events": {
        "get": _operation(
            LIVE,
            "Follow live updates as server-sent events",
            "A stream that never ends, for programs that accept `text/event-stream`: `curl -N -H 'Accept: "
            "text/event-stream' …`. A browser that opens the address is told so on a page.",
            # The page tries the first type: it ends.
            "text/html",
            parameters=_NARROWED,
            security=_KEY,
        )
    },
    "/ws/memory-logs/events": {
        "get": _operation(
            LIVE,
            "Follow live updates over a WebSocket",
            "The same stream, a JSON object in each message. Connect with `ws://` or `wss://`.",
            parameters=_NARROWED,
            security=_KEY,
            responses={"101": {"description": "The socket is open"}},
        )
    },
    "/mcp": {
        "post": _operation(
            AGENTS,
            "Model Context Protocol, Streamable HTTP",
            "For agents. `/mcp/{user_id}/{project_id}` fixes the tenant. An MCP client speaks to it.",
            security=_KEY,
        )
    },
    "/health/live": {
        "get": _operation(OPERATION, "Whether this process answers", "For the probe that restarts a process.")
    },
    "/health/ready": {
        "get": _operation(
            OPERATION,
            "Whether the stores answer, each with its latency",
            "503 where memories cannot be stored; 200 `degraded` where another part fails.",
        )
    },
    "/metrics": {
        "get": _operation(
            OPERATION,
            "Numbers for Prometheus",
            "Where METRICS_TOKEN is set, with `Authorization: Bearer <token>`.",
            "text/plain",
        )
    },
    "/schema": {
        "get": _operation(OPERATION, "The OpenAPI document", "Without the addresses of this section.")
    },
}
