"""Chat messages as agents send them, and the words in them. The shapes of OpenAI, Anthropic and Gemini are known.

    {"role": "user", "content": "Where is my parcel?"}
    {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {
        "name": "track", "arguments": "{\\"parcel\\": \\"blue lamp\\"}"}}]}
    {"role": "tool", "tool_call_id": "c1", "name": "track", "content": [{"type": "text", "text": "In Ghent"}]}
    {"role": "model", "parts": [{"text": "It is in Ghent."}]}

A conversation that the service saved is a memory of AGENT with its messages in `raw_data.turns`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import TypeGuard

# The agent of the memories that hold a saved conversation.
AGENT = "conversation"
# What the service itself writes into such a memory, apart from the turns.
BOOKKEEPING = frozenset({"conversation_id", "part", "first_turn", "last_turn"})

# The fields of a message that hold what was said.
SAID = ("content", "parts", "tool_calls", "function_call", "refusal")
SPEAKER = ("role", "name")
# Fields that say how a message is built or identified. Their values are no words, except in the input and output of
# a tool: there the same names are the tool's own.
TECHNICAL = frozenset(
    {
        *(
            "seq",
            "at",
            "id",
            "type",
            "call_id",
            "tool_call_id",
            "tool_use_id",
            "index",
            "signature",
            "cache_control",
        ),
        *("data", "media_type", "mime_type", "mimeType", "detail", "format", "encrypted_content"),
    }
)
PAYLOAD = frozenset({"arguments", "input", "args", "response"})


def is_dialogue(value: object) -> TypeGuard[list[Mapping[str, object]]]:
    """Whether the value is a list of chat messages: each has a `role`, and a field for what was said."""
    return isinstance(value, list) and bool(value) and all(_is_message(item) for item in value)


def is_saved_conversation(raw_data: object, agent: str) -> TypeGuard[dict[str, object]]:
    """Whether a memory with this body and agent holds turns of a saved conversation."""
    return (
        agent == AGENT
        and isinstance(raw_data, dict)
        and "conversation_id" in raw_data
        and isinstance(raw_data.get("turns"), list)
    )


def task_of(conversation_id: object, part: object) -> str:
    """The task of a memory of a saved conversation, until somebody changes it."""
    return f"Conversation {conversation_id}" + (f", part {part}" if part != 1 else "")


def speaker(message: Mapping[str, object]) -> str:
    """Who said it: the role, and the name if there is one."""
    return " ".join(str(message[name]) for name in SPEAKER if isinstance(message.get(name), str))


def said(message: Mapping[str, object]) -> Iterator[str]:
    """The strings of a message in order: its text, and names, arguments and results of its tool calls.

    A message without words in the known fields says what its other fields hold.
    """
    is_empty = True
    for name in SAID:
        for text in _strings(message.get(name)):
            is_empty = False
            yield text
    if is_empty:
        yield from _strings({name: message[name] for name in message if name not in (*SAID, *SPEAKER)})


def _is_message(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("role"), str)
        and any(isinstance(value[name], str | list | dict | None) for name in SAID if name in value)
    )


def _strings(tree: object) -> Iterator[str]:
    """Every string and number in the tree, depth first. It uses a stack: JSON may be deeper than Python's."""
    stack = [(tree, False)]
    while stack:
        value, is_payload = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield str(value)
        elif isinstance(value, list):
            stack += [(item, is_payload) for item in reversed(value)]
        elif isinstance(value, dict):
            names = sorted(value, key=_reading_order, reverse=True)
            stack += [
                (_parsed(value[name]) if name == "arguments" else value[name], is_payload or name in PAYLOAD)
                for name in names
                if is_payload or name not in TECHNICAL
            ]


def _reading_order(name: str) -> tuple[bool, str]:
    return name != "name", name


def _parsed(arguments: object) -> object:
    """OpenAI sends the arguments of a call as the text of a JSON object."""
    if isinstance(arguments, str):
        try:
            return json.loads(arguments)
        except (ValueError, RecursionError):
            return arguments
    return arguments
