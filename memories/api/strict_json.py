"""JSON that Python, PostgreSQL and the next client all read the same way, or the places where it is not.

What the grammar allows and jsonb or a double cannot keep is read first and refused afterwards, so that the answer
can say where it stands.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from math import isfinite
from typing import Any, NamedTuple

from memories.api import limits


class Refusal(NamedTuple):
    """What is wrong, and where: an RFC 6901 pointer into the body, "" for the body itself."""

    pointer: str
    detail: str


def loads(text: str) -> Any:
    """Raises ValueError or RecursionError for what is no JSON. What it returns is kept only after `refusals`."""
    return json.loads(text, object_pairs_hook=_object, parse_int=_integer)


def refusals(body: Any) -> Iterator[Refusal]:
    """Everything in `body` that cannot be kept, found without recursion."""
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
                continue  # nearly all that comes
            if isinstance(value, dict | list):
                waiting.append((f"{pointer}/{escaped(key)}", value, depth + 1))
            elif value is not None and (detail := _wrong_value(value)):
                yield Refusal(f"{pointer}/{escaped(key)}", detail)


def escaped(key: object) -> str:
    """A key as a step of a JSON pointer."""
    return str(key).replace("~", "~0").replace("/", "~1")


def wrong_text(text: str) -> str | None:
    """Why PostgreSQL cannot hold the text, or None when it can."""
    if "\x00" in text:
        return "Null characters (U+0000) cannot be stored."
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "A lone surrogate (half of a UTF-16 pair) cannot be stored."
    return None


class _Twice(dict[str, Any]):
    """An object that named a key twice."""

    key: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    twice = _Twice(found)
    twice.key = next(name for name in found if names.count(name) > 1)
    return twice


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= limits.DIGITS else float("inf")


def _wrong_object(found: dict[str, Any]) -> str | None:
    if isinstance(found, _Twice):
        return f"The key {_shown(found.key)} stands here twice."
    if len(found) > limits.KEYS:
        return f"An object may have {limits.KEYS:,} keys; this has {len(found):,}."
    together = "".join(found)
    if len(together) <= limits.KEY_LENGTH and together.isprintable():
        return None  # as nearly always: so is each of them
    for key in found:
        if len(key) > limits.KEY_LENGTH:
            return f"A key may have {limits.KEY_LENGTH} characters; {_shown(key)} has {len(key):,}."
        if detail := wrong_text(key):
            return f"In the key {_shown(key)}: {detail}"
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
        return "An integer beyond 64 bits loses digits on its way: send it as a string."
    return None


def _is_double(value: int) -> bool:
    """Whether these are a double's own digits: 1e22 comes back from PostgreSQL as 10000000000000000000000."""
    try:
        return int(Decimal(repr(float(value)))) == value
    except OverflowError:
        return False


def _shown(key: str) -> str:
    return json.dumps(key if len(key) <= 40 else f"{key[:40]}...")
