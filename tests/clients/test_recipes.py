"""The recipes of docs/how-to/give-an-agent-a-memory.md, each run twice with a scripted model in place of a real one."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from agents import Model, ModelResponse, Usage, set_tracing_disabled
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from memories.models import MemoryLog
from semantix_client import Semantix
from tests.clients.conftest import Account
from tests.support.documented.blocks import blocks_of
from tests.support.paths import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = ROOT / "docs/how-to/give-an-agent-a-memory.md"
SOLUTION = "Refresh the token before the session ends."


def recipe(containing: str) -> dict[str, Any]:
    """The names that the block of the page defines."""
    [block] = [block for block in blocks_of(PAGE) if containing in block.text and not block.not_run]
    names: dict[str, Any] = {}
    exec(compile(block.text, block.place, "exec", dont_inherit=True), names)
    return names


class ScriptedModel(Model):
    """Searches, and answers with what it finds; else it remembers a solution and answers with that."""

    async def get_response(self, *_: Any, input: Any, **__: Any) -> ModelResponse:
        items = [{"role": "user", "content": input}] if isinstance(input, str) else input
        outputs = [item["output"] for item in items if item.get("type") == "function_call_output"]
        next = self._next(str(items[0]["content"]), [self._read(output) for output in outputs])
        return ModelResponse(output=[next], usage=Usage(), response_id=None)

    def _next(self, task: str, results: list[Any]) -> Any:
        if not results:
            return call("search_memories", {"query": task})
        if hits := results[0]["hits"]:
            return message(f"I remember: {hits[0]['memory']['raw_data']['solution']}")
        if len(results) == 1:
            solution = {"solution": SOLUTION}
            return call("remember", {"task": task, "raw_data": solution, "wait_until_searchable": True})
        return message(f"I worked it out: {SOLUTION}")

    @staticmethod
    def _read(output: Any) -> Any:
        """A result of a tool, as the SDK hands it to a model."""
        text = output if isinstance(output, str) else output[0]["text"]
        found = json.loads(text)
        return json.loads(found["text"]) if "text" in found else found

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


def call(tool: str, arguments: dict[str, Any]) -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(
        type="function_call", call_id=f"call-{tool}", name=tool, arguments=json.dumps(arguments)
    )


def message(text: str) -> ResponseOutputMessage:
    content = ResponseOutputText(type="output_text", text=text, annotations=[])
    return ResponseOutputMessage(
        id="1", type="message", role="assistant", status="completed", content=[content]
    )


@pytest.fixture
def untraced() -> Iterator[None]:
    """The SDK sends traces to its maker unless it is told not to."""
    set_tracing_disabled(True)
    yield
    set_tracing_disabled(False)


@pytest.mark.usefixtures("untraced")
def test_an_agent_of_openais_sdk_remembers_over_mcp(service: str, account: Account) -> None:
    names = recipe("MCPServerStreamableHttp")
    headers = {"Authorization": f"Bearer {account.key}"}
    names["MEMORY"] |= {"url": f"{service}/mcp", "headers": headers}

    first = asyncio.run(names["ask"]("Users are logged out after an hour", ScriptedModel()))
    second = asyncio.run(names["ask"]("People lose their session every hour", ScriptedModel()))

    assert first == f"I worked it out: {SOLUTION}"
    assert second == f"I remember: {SOLUTION}"
    assert MemoryLog.objects.get().tenant == account.tenant


def test_a_bare_loop_remembers_with_the_client(service: str, account: Account) -> None:
    def model(messages: list[dict[str, Any]]) -> dict[str, Any]:
        task, results = messages[0]["content"], [each for each in messages if each["role"] == "tool"]
        if not results:
            return {"role": "assistant", "call": "search_memories", "arguments": {"question": task}}
        if found := results[0]["content"]:
            return {"role": "assistant", "content": f"I remember: {found[0]['solution']}"}
        if len(results) == 1:
            arguments = {"task": task, "solution": SOLUTION}
            return {"role": "assistant", "call": "remember", "arguments": arguments}
        return {"role": "assistant", "content": f"I worked it out: {SOLUTION}"}

    names = recipe("def search_memories")
    with Semantix(service, account.key, *account.tenant) as client:
        names["semantix"] = client
        first = names["run"](model, "Users are logged out after an hour")
        client.update(MemoryLog.objects.get().id, agent="tester", wait=20)  # waits until it is searchable
        second = names["run"](model, "People lose their session every hour")

    assert (first, second) == (f"I worked it out: {SOLUTION}", f"I remember: {SOLUTION}")
