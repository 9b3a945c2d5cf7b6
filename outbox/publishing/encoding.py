"""Payloads as JSON text. What JSON does not have is refused with the event's type, and never changed in silence."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

# Without these options orjson writes datetimes and dataclasses in a form of its own choice.
OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS

Payloads = Iterable[tuple[str, Mapping[str, Any]]]


def as_json(value: Any, payloads: Payloads = ()) -> str:
    """`value` as JSON text. `payloads`: the (event type, payload) pairs that it contains, for the check.

    Raises TypeError if a payload contains an object that JSON does not have or a key that is no string, ValueError if
    it contains NaN or an infinite number.
    """
    try:
        text = orjson.dumps(value, option=OPTIONS).decode()
    except TypeError:
        # An integer of more than 64 bits, which `json` can write, or something that is no JSON.
        _check(payloads, _check_value, json.dumps)
        return json.dumps(value)
    # orjson writes null for NaN.
    if "null" in text:
        _check(payloads, _check_value)
    return text


def _check(payloads: Payloads, *checks: Callable[[Any], object]) -> None:
    for type, payload in payloads:
        try:
            for check in checks:
                check(payload)
        except TypeError as error:
            raise TypeError(f"The payload of {type} is no JSON: {error}") from None
        except ValueError as error:
            raise ValueError(f"The payload of {type} is no JSON: {error}") from None


def _check_value(value: Any) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"it contains the number {value}. Use None or a string instead.")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"it contains the key {key!r}. Use a string instead.")
            _check_value(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_value(inner)
