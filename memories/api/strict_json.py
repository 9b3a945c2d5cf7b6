"""JSON that Python, PostgreSQL and other clients read alike, and the places where a body is not so.

Values that are valid JSON but do not fit into jsonb or a double are parsed first and refused afterwards. So the
answer can say where they are.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from math import isfinite
from typing import Any, NamedTuple

from memories.api import limits


class Refusal(NamedTuple):
    """What is wrong, and where: an RFC 6901 pointer into the body ("" is the body itself)."""

    pointer: str
    detail: str


def loads(text: str) -> Any:
    """Parse JSON. Store the result only when `refusals` finds nothing in it.

    Raises ValueError for invalid JSON and RecursionError for deep nesting.
    """
    return json.loads(text, object_pairs_hook=_object, parse_int=_integer)


def refusals(body: Any) -> Iterator[Refusal]:
    """Yield everything in `body` that cannot be stored. It uses no recursion, so depth costs no stack."""
    waiting: list[tuple[str, Any, int]] = [("", body, 1)]
    while waiting:
        pointer, container, depth = waiting.pop()
        if isinstance(container, dict):
            if detail := _wrong_object(container):
                yield Refusal(pointer, detail)
            items = container.items()
        elif isinstance(container, list):
            if len(container) > limits.ITEMS:
                yield Refusal(
                    pointer, f"A list may have {limits.ITEMS:,} items; this has {len(container):,}."
                )
            items = enumerate(container)  # type: ignore[assignment]
        else:
            items = ()  # type: ignore[assignment]
            if detail := _wrong_value(container):
                yield Refusal(pointer, detail)
        if depth > limits.DEPTH:
            yield Refusal(pointer, f"Nested deeper than {limits.DEPTH} levels.")
            continue
        for key, value in items:
            if isinstance(value, str) and len(value) <= limits.STRING_LENGTH and value.isprintable():
                continue  # nearly all strings
            if isinstance(value, dict | list):
                waiting.append((f"{pointer}/{escaped(key)}", value, depth + 1))
            elif value is not None and (detail := _wrong_value(value)):
                yield Refusal(f"{pointer}/{escaped(key)}", detail)


def escaped(key: object) -> str:
    """A key, escaped for a JSON pointer."""
    return str(key).replace("~", "~0").replace("/", "~1")


def wrong_text(text: str) -> str | None:
    """Why PostgreSQL cannot store the text, or None when it can."""
    if "\x00" in text:
        return "Null characters (U+0000) cannot be stored."
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "A lone surrogate (half of a UTF-16 pair) cannot be stored."
    return None


class _Repeated(dict[str, Any]):
    """An object with a repeated key."""

    key: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    twice = _Repeated(found)
    twice.key = next(name for name in found if names.count(name) > 1)
    return twice


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= limits.DIGITS else float("inf")


def _wrong_object(found: dict[str, Any]) -> str | None:
    if isinstance(found, _Repeated):
        return f"The key {_quoted(found.key)} is repeated."
    if len(found) > limits.KEYS:
        return f"An object may have {limits.KEYS:,} keys; this has {len(found):,}."
    together = "".join(found)
    if len(together) <= limits.KEY_LENGTH and together.isprintable():
        return None  # nearly always: then each key is short and printable
    for key in found:
        if len(key) > limits.KEY_LENGTH:
            return f"A key may have {limits.KEY_LENGTH} characters; {_quoted(key)} has {len(key):,}."
        if detail := wrong_text(key):
            return f"In the key {_quoted(key)}: {detail}"
    return None


def _wrong_value(value: Any) -> str | None:
    if isinstance(value, str):
        if len(value) > limits.STRING_LENGTH:
            return f"A string may have {limits.STRING_LENGTH:,} characters; this has {len(value):,}."
        return wrong_text(value)
    if isinstance(value, float):
        return (
            None if isfinite(value) else "NaN, Infinity and numbers beyond a double's range cannot be stored."
        )
    if isinstance(value, int) and not -(2**63) <= value < 2**63 and not _is_double(value):
        return "An integer of more than 64 bits would lose digits. Send it as a string."
    return None


def _is_double(value: int) -> bool:
    """Whether a double keeps these digits. PostgreSQL returns 1e22 as 10000000000000000000000, which must be taken."""
    try:
        return int(Decimal(repr(float(value)))) == value
    except OverflowError:
        return False


def _quoted(key: str) -> str:
    return json.dumps(key if len(key) <= 40 else f"{key[:40]}...")
