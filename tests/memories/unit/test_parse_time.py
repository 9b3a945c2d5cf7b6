"""Parsing a body takes linear time, whatever its shape: twice the body, about twice the time."""

import json
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from rest_framework.exceptions import APIException

from memories.api import limits
from memories.api.parsers import StrictJSONParser

Body = Callable[[int], str]
# Twice the body may take this much longer. Quadratic time would take 4 times as long, or more.
MOST_GROWTH = 3.5


def objects(count: int, keys: int) -> str:
    one = json.dumps({f"key {n}": n for n in range(keys)})
    return f"[{', '.join([one] * count)}]"


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def under_long_keys(items: int) -> str:
    """Lists at the end of a path of long keys: a pointer to each would have 30,000 characters."""
    path = f'{{"{"k" * limits.KEY_LENGTH}": ' * (limits.DEPTH - 3)
    return path + f"[{', '.join(['[]'] * items)}]" + "}" * (limits.DEPTH - 3)


# Each size takes some milliseconds to parse, so that the clock can tell them apart.
BODIES: dict[str, tuple[Body, int]] = {
    "keys up to the limit, in many objects": (lambda n: objects(n, limits.KEYS), 40),
    "keys above the limit": (lambda n: objects(1, n), 40_000),
    "a repeated key": (lambda n: "{" + '"a": 1, ' * n + '"a": 1}', 40_000),
    "a repeated key at the end": (lambda n: f'{objects(1, n)[1:-2]}, "key {n - 1}": 0}}', 4_000),
    "items up to the limit, in many lists": (lambda n: str([[0] * limits.ITEMS] * n), 10),
    "items above the limit": (lambda n: str([0] * n), 100_000),
    "depth up to the limit, many times": (lambda n: f"[{', '.join([nested(limits.DEPTH - 1)] * n)}]", 1_000),
    "depth above the limit": (lambda n: nested(n), 20_000),
    "lists under long keys": (under_long_keys, 4_000),
    "digits of integers": (lambda n: f"[{', '.join(['9' * limits.DIGITS] * n)}]", 1_000),
    "digits of one integer": (lambda n: "9" * n, 2_000_000),
    "digits of one fraction": (lambda n: "0." + "9" * n, 200_000),
    "string length": (lambda n: json.dumps(["x" * limits.STRING_LENGTH] * n), 40),
    "one long string": (lambda n: json.dumps("x" * n), 4_000_000),
    "escapes": (lambda n: '"' + r"\u0041" * n + '"', 200_000),
    "null characters": (lambda n: json.dumps(["\x00" * 10] * n), 5_000),
    "long keys": (lambda n: f'{{"{"k" * n}": 1}}', 4_000_000),
}


def seconds(body: str) -> float:
    encoded = body.encode()
    started = time.process_time()
    with suppress(APIException):  # above a limit
        StrictJSONParser().parse(BytesIO(encoded))
    return time.process_time() - started


@pytest.mark.parametrize("kind", BODIES)
def test_twice_the_body_takes_about_twice_the_time(kind: str, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 2**30
    build, size = BODIES[kind]
    one, twice = build(size), build(2 * size)

    # The best of several: a busy machine makes a run longer, never shorter.
    shorter, longer = (min(seconds(body) for _ in range(5)) for body in (one, twice))

    assert longer <= MOST_GROWTH * shorter + 0.005, f"{shorter:.4f} s became {longer:.4f} s"


def test_a_deep_path_of_long_keys_takes_no_memory_for_pointers_that_nobody_reads() -> None:
    body = under_long_keys(limits.ITEMS).encode()

    tracemalloc.start()
    StrictJSONParser().parse(BytesIO(body))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 100 * len(body)
