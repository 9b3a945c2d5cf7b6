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
    """Yield everything in `body` that cannot be stored, depth first.

    It keeps one iterator for each level. So deep nesting costs no stack, and a pointer is built only for an error.
    """
    path: list[object] = []
    levels = [iter([("", body)])]
    values = 0
    while levels:
        for key, value in levels[-1]:
            if isinstance(value, str) and len(value) <= limits.STRING_LENGTH and value.isprintable():
                continue  # nearly all strings
            if isinstance(value, dict | list):
                path.append(key)
                values += len(value)
                if values > limits.VALUES:
                    yield Refusal(
                        "", f"A body may have {limits.VALUES:,} values. Send it in several requests."
                    )
                    return
                if detail := _wrong_container(value, len(path)):
                    yield Refusal(_pointer(path), detail)
                if len(path) <= limits.DEPTH:
                    levels.append(_items(value))
                    break
                path.pop()
            elif value is not None and (detail := _wrong_value(value)):
                yield Refusal(_pointer([*path, key]), detail)
        else:
            levels.pop()
            if path:
                path.pop()


def _items(container: dict[str, Any] | list[Any]) -> Iterator[tuple[Any, Any]]:
    return iter(container.items() if isinstance(container, dict) else enumerate(container))


def _pointer(path: list[object]) -> str:
    # The first step is the body itself.
    return "".join(f"/{escaped(key)}" for key in path[1:])


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


class _RefusedObject(dict[str, Any]):
    """An empty object in the place of one that is refused, and the reason."""

    def __init__(self, detail: str) -> None:
        super().__init__()
        self.detail = detail


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > limits.KEYS:  # refused at once: such an object is not built
        return _RefusedObject(_too_many_keys(len(pairs)))
    found = dict(pairs)
    return found if len(found) == len(pairs) else _RefusedObject(_repeated(pairs))


def _too_many_keys(count: int) -> str:
    return f"An object may have {limits.KEYS:,} keys. This one has {count:,}."


def _repeated(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return f"The key {_quoted(key)} is repeated."
        seen.add(key)
    raise AssertionError("no key is repeated")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= limits.DIGITS else float("inf")


def _wrong_container(found: dict[str, Any] | list[Any], depth: int) -> str | None:
    if depth > limits.DEPTH:
        return f"This is nested deeper than {limits.DEPTH} levels."
    if isinstance(found, list):
        if len(found) > limits.ITEMS:
            return f"A list may have {limits.ITEMS:,} items. This one has {len(found):,}."
        return None
    return found.detail if isinstance(found, _RefusedObject) else _wrong_keys(found)


def _wrong_keys(found: dict[str, Any]) -> str | None:
    if len(found) > limits.KEYS:
        return _too_many_keys(len(found))
    together = "".join(found)
    if len(together) <= limits.KEY_LENGTH and together.isprintable():
        return None  # nearly always: then each key is short and printable
    for key in found:
        if len(key) > limits.KEY_LENGTH:
            return f"A key may have {limits.KEY_LENGTH} characters. {_quoted(key)} has {len(key):,}."
        if detail := wrong_text(key):
            return f"In the key {_quoted(key)}: {detail}"
    return None


def _wrong_value(value: Any) -> str | None:
    if isinstance(value, str):
        if len(value) > limits.STRING_LENGTH:
            return f"A string may have {limits.STRING_LENGTH:,} characters. This one has {len(value):,}."
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
