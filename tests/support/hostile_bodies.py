"""Bodies that are large, deep, slow, compressed or wrongly encoded, made from a seed."""

import gzip
import json
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from memories.api import limits
from tests.support.keys import memory

# A little above what a body may have, so that some bodies cross the limit.
MOST_BYTES = 11 * 2**20
TEXTS = ["", "a", "ä", "漢字", "🎼", "\u202e", "x" * 1_000, "a\nb\t", "\\", '"', "\x7f", "0", "null"]
SCALARS = [None, True, False, 0, -1, 2**53, -(2**63), 2**63 - 1, 10**22, 0.1, -1e-300, 1.7e308, *TEXTS]


@dataclass
class HostileBody:
    """A body to send. `stored` is the raw_data that a 201 must have stored; without it every 201 is wrong."""

    kind: str
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    stored: dict[str, Any] | None = None
    pause: float = 0.0

    def pieces(self) -> Iterator[bytes]:
        """The content in at most 20 pieces, with a pause after each one."""
        size = max(1, len(self.content) // 19)
        for start in range(0, len(self.content), size):
            yield self.content[start : start + size]
            time.sleep(self.pause)


def hostile_bodies(seed: int) -> Iterator[HostileBody]:
    """An endless series, the same for the same seed. Each kind comes once before one comes again."""
    random = Random(seed)
    while True:
        for make in random.sample(KINDS, len(KINDS)):
            yield make(random)


def large(random: Random) -> HostileBody:
    shape = random.choice(["values", "items", "keys", "string", "key", "bytes", "body"])
    near = random.choice([-1, 0, 1])
    data: dict[str, Any] = {
        "values": lambda: {"a": [[0] * 9_999, [0] * (9_998 + near)]},
        "items": lambda: {"a": [0] * (limits.ITEMS + near)},
        "keys": lambda: {str(n): n for n in range(limits.KEYS + near)},
        "string": lambda: {"a": "ä" * (limits.STRING_LENGTH + near)},
        "key": lambda: {"k" * (limits.KEY_LENGTH + near): 1},
        "bytes": lambda: {"a": ["x" * 99_998] * (10 + near), "b": "y" * 48_500},
        "body": lambda: {"a": ["x" * 99_998] * (MOST_BYTES // 100_000)},
    }[shape]()
    return sound(f"large {shape}", data)


def deep(random: Random) -> HostileBody:
    levels = random.choice([limits.DEPTH - 2, limits.DEPTH - 1, limits.DEPTH, 900, 100_000])
    opening, closing = random.choice([("[", "]"), ('{"a":', "}")])
    data = opening * levels + ("1" if opening != "[" else "") + closing * levels
    text = json.dumps(memory("fuzz", "deep"))[:-1] + f', "raw_data": {{"a": {data}}}}}'
    stored = json.loads(text)["raw_data"] if levels < 900 else None
    return HostileBody(f"deep {levels}", text.encode(), stored=stored)


def slow(random: Random) -> HostileBody:
    body = sound("slow", anything(random))
    body.pause = random.choice([0.0, 0.005, 0.02])
    return body


def compressed(random: Random) -> HostileBody:
    body = sound("compressed", anything(random))
    coding, compress = random.choice([("gzip", gzip.compress), ("deflate", zlib.compress)])
    body.headers["Content-Encoding"] = coding
    body.content = compress(body.content)
    damage = random.choice(["none", "cut", "more", "twice", "bomb", "flip", "coding"])
    if damage != "none":
        body.stored = None
    match damage:
        case "cut":
            body.content = body.content[: random.randrange(len(body.content))]
        case "more":
            body.content += random.randbytes(5)
        case "twice":
            body.content = compress(body.content)
        case "bomb":
            body.content = compress(b" " * 50_000_000)
        case "flip":
            body.content = flipped(random, body.content)
        case "coding":
            body.headers["Content-Encoding"] = random.choice(["br", "gzip, deflate", "zstd", "gzip;q=1"])
    body.kind += f" {damage}"
    return body


def wrongly_encoded(random: Random) -> HostileBody:
    body = sound("encoded", anything(random))
    text = body.content.decode()
    how = random.choice(
        ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "overlong", "charset", "nul", "surrogate"]
    )
    match how:
        case "overlong":
            body.content = body.content.replace(b"a", b"\xc1\xa1")
        case "charset":
            body.headers["Content-Type"] = "application/json; charset=utf-16"
        case "nul":
            body.content = body.content.replace(b"Fix", rb"F\u0000x")
        case "surrogate":
            body.content = body.content.replace(b"Fix", rb"F\ud800x")
        case _:
            body.content = text.encode(how)
    if how != "utf-8-sig":
        body.stored = None
    body.kind += f" {how}"
    return body


def wrongly_declared(random: Random) -> HostileBody:
    body = sound("declared", anything(random))
    body.headers["Content-Type"] = random.choice(
        ["*/*", "text/plain", "multipart/form-data; boundary=x", "x" * 500]
    )
    body.stored = None
    return body


def mutated(random: Random) -> HostileBody:
    """A JSON text with some bytes changed. It may still be sound, so what it stores is not known."""
    body = sound("mutated", anything(random))
    for _ in range(random.randint(1, 5)):
        body.content = flipped(random, body.content)
    try:
        found = json.loads(body.content)
        body.stored = found.get("raw_data", {})
    except (ValueError, AttributeError):
        body.stored = None
    return body


KINDS: list[Callable[[Random], HostileBody]] = [
    large,
    deep,
    slow,
    compressed,
    wrongly_encoded,
    wrongly_declared,
    mutated,
]


def sound(kind: str, raw_data: dict[str, Any]) -> HostileBody:
    text = json.dumps(memory("fuzz", "bodies", raw_data=raw_data), ensure_ascii=False)
    return HostileBody(kind, text.encode(), {"Content-Type": "application/json"}, stored=raw_data)


def anything(random: Random) -> dict[str, Any]:
    """Some raw_data that may be stored."""
    return {random.choice(TEXTS) + str(n): value(random, 4) for n in range(random.randint(1, 6))}


def value(random: Random, depth: int) -> Any:
    kind = random.random() if depth else 1.0
    if kind < 0.2:
        return [value(random, depth - 1) for _ in range(random.randint(0, 4))]
    if kind < 0.4:
        return {
            f"{random.choice(TEXTS)[:400]}{n}": value(random, depth - 1) for n in range(random.randint(0, 4))
        }
    return random.choice(SCALARS)


def flipped(random: Random, content: bytes) -> bytes:
    place = random.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << random.randrange(8))]) + content[place + 1 :]
