"""The resources that an agent reads: a memory, and its history."""

from typing import Any

from mcp.server.mcpserver import Context

from memories.api.mcp.answers import NOTICE
from memories.api.mcp.server import caller_of, server

# Versions in the answer.
NEWEST = 500


@server.resource("memory://{memory_id}", title="A memory", mime_type="application/json")
async def memory(memory_id: int, context: Context) -> dict[str, Any]:
    """A memory as it is now."""
    found: dict[str, Any] = await caller_of(context).visible(f"/memory-logs/{memory_id}")
    return {"notice": NOTICE} | found


@server.resource(
    "memory://{memory_id}/history", title="The history of a memory", mime_type="application/json"
)
async def history(memory_id: int, context: Context) -> dict[str, Any]:
    """The newest 500 versions of a memory, oldest first."""
    caller = caller_of(context)
    await caller.visible(f"/memory-logs/{memory_id}")
    page = await caller.request("GET", f"/memory-logs/{memory_id}/history", params={"page_size": NEWEST})
    return {"notice": NOTICE, "versions": page["results"]}
