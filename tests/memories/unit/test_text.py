"""What of a memory's JSON is embedded."""

import base64
import doctest
import json
import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories import text
from memories.text import MAX_CHARACTERS, searchable_text, text_hash
from tests.support.paths import ROOT

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


def lines(raw_data: object) -> list[str]:
    """The text's lines after the task's and the agent's."""
    return [
        line for line in searchable_text("T", "A", raw_data).splitlines() if line not in ("T", "agent: A")
    ]


def test_the_docstring_tells_the_truth():
    assert doctest.testmod(text).failed == 0


def test_the_known_fields_come_first_in_their_order_whatever_the_order_of_the_keys():
    raw_data = {
        "alpha": "last",
        "component": "billing",
        "tags": ["tax", "vat"],
        "solution": "Round once",
        "summary": "Totals differ by a cent",
    }
    expected = [
        "Fix",
        "Totals differ by a cent",
        "Round once",
        "tax, vat",
        "billing",
        "agent: bob",
        "alpha: last",
    ]
    assert searchable_text("Fix", "bob", raw_data).splitlines() == expected
    assert searchable_text("Fix", "bob", dict(sorted(raw_data.items()))).splitlines() == expected


def test_nested_values_keep_the_keys_that_lead_to_them():
    raw_data = {"error": {"http": {"statusCode": 502, "reason_phrase": "Bad Gateway"}}}
    assert lines(raw_data) == ["error http reason phrase: Bad Gateway", "error http status code: 502"]


def test_what_lies_deep_comes_after_what_lies_at_the_surface():
    assert lines({"a": {"deep": "second"}, "b": "first"}) == ["b: first", "a deep: second"]


def test_lists_stand_in_one_line_and_lists_of_objects_line_by_line():
    raw_data = {"files": ["a.py", "b.py"], "steps": [{"ran": "make"}, {"ran": "make test"}]}
    assert lines(raw_data) == ["files: a.py, b.py", "steps ran: make", "steps ran: make test"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(3, "3"), (0, "0"), (0.1 + 0.2, "0.3"), (-2.5, "-2.5"), (True, "true"), (False, "false")],
)
def test_numbers_and_flags_are_told_with_their_key(value: object, shown: str):
    assert lines({"retries": value}) == [f"retries: {shown}"]


@pytest.mark.parametrize("value", [None, "", "  ", [], {}, float("nan"), float("inf"), "---", [None]])
def test_nothing_says_nothing(value: object):
    assert lines({"note": value}) == []


@pytest.mark.parametrize(
    "noise",
    [
        "0af7651916cd43dd8448eb211c80319c",
        "0x00000000219ab540356cbb839cbbd3b6",
        "7b1e9a52-3a41-4c8e-9f3b-64e1f0a2c9d1",
        "1683540000123",
        "req_011CSHoEeqs5C35K2UUqR7Fy",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg",
        base64.b64encode(random.Random(1).randbytes(3000)).decode(),
        base64.encodebytes(random.Random(2).randbytes(4 * 57)).decode(),
        1683540000,
        1683540000.5,
        [0.25] * 768,
    ],
)
def test_ids_and_encoded_data_leave_no_trace_not_even_their_key(noise: object):
    assert lines({"trace": noise}) == []
    if isinstance(noise, str):
        assert lines({"log": f"before {noise} after"}) == ["log: before after"]


@pytest.mark.parametrize(
    "words",
    [
        "PROJ-123",
        "HTTP/1.1 502 in 2023-05-08T10:00:00Z",
        "getUserByIdV2FromClient",
        "TestHTTP2ConnectionPoolTimeout",
        "src/v1/api/get_user_by_id2.py",
        "the-quick-brown-fox-2023-v2-final",
        "internationalization",
        "東京タワーに行きました",
        "port 8000, build 4711",
        "a@example.com",
    ],
)
def test_words_numbers_and_names_that_people_search_for_stay(words: str):
    assert lines({"note": words}) == [f"note: {words}"]


def test_of_a_url_the_place_and_the_path_stay():
    url = "https://bob:secret@example.com/docs/cache/0af7651916cd43dd8448eb211c80319c?utm_source=x#top"
    assert lines({"see": f"as {url} says"}) == ["see: as example.com/docs/cache says"]


def test_an_id_used_as_a_key_is_left_out_of_the_label():
    assert lines({"users": {str(uuid.UUID(int=1 << 100)): {"name": "Ada"}}}) == ["users name: Ada"]


def test_a_long_value_leaves_room_for_the_next():
    raw_data = {"log": "lorem ipsum " * 10_000, "zone": "eu-west"}
    body = searchable_text("T", "A", raw_data)
    assert "zone: eu-west" in body
    assert len(body) <= MAX_CHARACTERS


def test_the_text_is_cut_between_words():
    body = searchable_text("T", "A", {f"part {part}": "wonderful " * 200 for part in range(9)})
    assert MAX_CHARACTERS - 20 < len(body) <= MAX_CHARACTERS
    assert body.endswith("wonderful")


def test_an_object_deeper_than_pythons_stack_has_a_text():
    nested: dict[str, object] = {"note": "bottom"}
    for _ in range(5_000):
        nested = {"in": nested}
    assert lines(nested) == ["in in note: bottom"]


@given(json_values)
def test_any_json_has_a_text_that_is_short_and_the_same_after_a_trip_through_jsonb(value: object):
    body = searchable_text("Task", "Agent", value)
    assert body.startswith("Task")
    assert len(body) <= MAX_CHARACTERS
    assert searchable_text("Task", "Agent", json.loads(json.dumps(value, sort_keys=True))) == body


def test_the_hash_changes_with_the_text_only():
    assert text_hash("one") == text_hash("one")
    assert text_hash("one") != text_hash("two")
    assert len(text_hash("")) == 64


def test_the_examples_of_the_documentation_are_true():
    page = ROOT / "docs/explanation/text-extraction.md"
    finished = doctest.testfile(str(page), module_relative=False)
    assert finished.attempted >= 3
    assert finished.failed == 0
