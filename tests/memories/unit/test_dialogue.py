"""The words of chat messages, in the shapes that agents send them."""

from typing import Any

import pytest

from memories.dialogue import is_dialogue
from memories.text import MAX_CHARACTERS, searchable_text, spoken_line

OPENAI_CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "call_a1b2c3d4e5f6",
            "type": "function",
            "function": {"name": "track_parcel", "arguments": '{"parcel": "blue lamp", "format": "short"}'},
        }
    ],
}
OPENAI_RESULT = {"role": "tool", "tool_call_id": "call_a1b2c3d4e5f6", "content": "It left Ghent at noon"}
OPENAI_PARTS = {
    "role": "user",
    "content": [
        {"type": "text", "text": "What is in this picture?"},
        {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg", "detail": "low"},
        },
    ],
}
ANTHROPIC_CALL = {
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "The parcel has a number", "signature": "EqoBCkgIBxABGAIiQL"},
        {"type": "text", "text": "I will look it up."},
        {
            "type": "tool_use",
            "id": "toolu_01A09q90qw90lq917835lq9",
            "name": "track",
            "input": {"type": "lamp"},
        },
    ],
}
ANTHROPIC_RESULT = {
    "role": "user",
    "content": [
        {
            "type": "tool_result",
            "tool_use_id": "toolu_01A09q90qw90lq917835lq9",
            "content": [{"type": "text", "text": "In Ghent"}, {"type": "text", "text": "since 3"}],
        }
    ],
}
GEMINI = {
    "role": "model",
    "parts": [{"text": "It is in"}, {"functionCall": {"name": "locate", "args": {"city": "Ghent"}}}],
}


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ({"role": "user", "content": "Where is it?"}, "user: Where is it?"),
        ({"role": "user", "name": "ada", "content": "Where is it?"}, "user ada: Where is it?"),
        (OPENAI_CALL, "assistant: track_parcel short blue lamp"),
        (OPENAI_RESULT, "tool: It left Ghent at noon"),
        (OPENAI_PARTS, "user: What is in this picture?"),
        (ANTHROPIC_CALL, "assistant: The parcel has a number I will look it up. track lamp"),
        (ANTHROPIC_RESULT, "user: In Ghent since 3"),
        (GEMINI, "model: It is in locate Ghent"),
        ({"role": "assistant", "content": None, "refusal": "I cannot say"}, "assistant: I cannot say"),
        ({"role": "assistant", "content": {"type": "text", "text": "one part"}}, "assistant: one part"),
        ({"role": "user", "content": ["two", "strings"]}, "user: two strings"),
        ({"role": "user", "text": "another field", "id": "m1"}, "user: another field"),
        ({"role": "user", "content": None}, ""),
        ({"role": "user", "content": ""}, ""),
        ({"role": "user"}, ""),
        ({"content": "nobody said it"}, "nobody said it"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"arguments": "{not json"}}]},
            "assistant: {not json",
        ),
    ],
)
def test_the_line_of_a_message_is_who_said_what(message: dict[str, Any], line: str) -> None:
    assert spoken_line(message) == line


def test_a_message_of_any_depth_has_a_line() -> None:
    content: Any = "deep"
    for _ in range(5_000):
        content = [content]

    assert spoken_line({"role": "user", "content": content}) == "user: deep"


def test_a_message_of_many_parts_is_read_no_further_than_a_text_is_long() -> None:
    parts = [{"type": "text", "text": "word " * 20} for _ in range(10_000)]

    assert len(spoken_line({"role": "user", "content": parts})) <= MAX_CHARACTERS + len("user: ")


@pytest.mark.parametrize("message", [OPENAI_CALL, OPENAI_PARTS, ANTHROPIC_CALL, ANTHROPIC_RESULT, GEMINI])
def test_messages_of_every_shape_are_a_dialogue(message: dict[str, Any]) -> None:
    assert is_dialogue([{"role": "user", "content": "hello"}, message])


@pytest.mark.parametrize(
    "value",
    [
        [],
        "user: hello",
        [{"role": "engineer", "years": 3}],
        [{"content": "nobody said it"}],
        [{"role": 5, "content": "five"}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": "hello"}, "hello"],
    ],
)
def test_other_values_are_no_dialogue(value: Any) -> None:
    assert not is_dialogue(value)


def saved(**more: Any) -> dict[str, Any]:
    turns = [
        {"seq": 4, "at": "2026-01-31T08:15:00.123Z", "role": "user", "content": "My lamp is late"},
        OPENAI_CALL,
    ]
    raw_data = {"conversation_id": "support-1", "part": 2, "first_turn": 4, "last_turn": 5, "turns": turns}
    return raw_data | more


def test_the_document_of_a_saved_conversation_is_who_said_what_and_nothing_else() -> None:
    text = searchable_text("Conversation support-1, part 2", "conversation", saved())

    assert text == "user: My lamp is late\nassistant: track_parcel short blue lamp"


def test_the_document_of_a_saved_conversation_has_what_its_owner_added() -> None:
    text = searchable_text("The late lamp", "conversation", saved(tags=["parcel"], priority="high"))

    assert text.splitlines() == [
        "The late lamp",
        "parcel",
        "user: My lamp is late",
        "assistant: track_parcel short blue lamp",
        "priority: high",
    ]


@pytest.mark.parametrize(
    ("turns", "text"),
    [(["only", 1, None, {"content": "words"}], "only\n1\nwords"), ([[["nested"]]], "nested")],
)
def test_turns_that_an_owner_edited_have_a_document(turns: list[Any], text: str) -> None:
    assert searchable_text("Conversation support-1, part 2", "conversation", saved(turns=turns)) == text


@pytest.mark.parametrize("turns", [[], [{"seq": 1, "role": "user", "content": None}]])
def test_a_conversation_without_a_word_has_its_task(turns: list[Any]) -> None:
    """Providers refuse to embed an empty text."""
    assert searchable_text("Conversation support-1", "conversation", saved(part=1, turns=turns)) == (
        "Conversation support-1"
    )


def test_a_memory_of_another_agent_with_the_same_fields_keeps_its_task() -> None:
    text = searchable_text("Conversation support-1", "coder", saved())

    assert text.startswith("Conversation support-1\n")
