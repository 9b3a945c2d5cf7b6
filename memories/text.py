"""The text of a memory that is embedded and searched: what a reader would keep of its JSON.

The same memory always gives the same text, in whatever order its keys come (jsonb keeps none): the hash of
the text decides whether a changed memory is embedded again. Rules and examples: docs/explanation/text-extraction.md.
"""

import hashlib
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain, pairwise
from typing import TypeGuard

# What stands first survives the limit, and weighs more with every embedding backend.
FIRST_FIELDS = ("summary", "solution", "tags", "component")
# About 2,000 tokens of English.
MAX_CHARACTERS = 8_000
# So that one log or file dump does not push out all that follows it.
MAX_VALUE_CHARACTERS = 4_000
# A list of more numbers than this is data (an embedding, a series), not words.
MAX_NUMBERS = 16
# Numbers from here on are ids and epochs.
ID_NUMBER = 1_000_000_000
# Words of one kind of letters from here on are encoded data.
LONG_WORD = 60
# A value's label names this many of the keys above it.
MAX_KEYS = 3

_URL = re.compile(r"\b(?:https?|wss?|ftp)://(?:[^\s/@]*@)?([^\s?#\"'<>]+)[^\s\"'<>]*", re.IGNORECASE)
# Files in data URLs, JSON web tokens.
_ENCODED = re.compile(r"\bdata:[\w/.+;=-]*,\S*|\beyJ[\w-]{10,}(?:\.[\w-]*)*", re.ASCII)
_LONG_RUN = re.compile(r"[\w+/=-]{10,}", re.ASCII)
_ID = re.compile(r"\d{10,}|(?:0x)?(?=.*\d)[0-9a-f]{12,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_WORD = re.compile(r"[^\W_]")
_SEPARATORS = re.compile(r"[-_/+=]")
_KEY_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[\W_]+")


def searchable_text(task: str, agent: str, raw_data: object) -> str:
    """A line a field: the task, the known fields as they stand, who did it, then the rest with its keys.

    >>> print(searchable_text("Fix login", "claude", {
    ...     "attempts": 3,
    ...     "error": {"statusCode": 401, "traceId": "0af7651916cd43dd8448eb211c80319c"},
    ...     "tags": ["auth", "cookies"],
    ...     "summary": "Session cookie was dropped behind the proxy",
    ... }))
    Fix login
    Session cookie was dropped behind the proxy
    auth, cookies
    agent: claude
    attempts: 3
    error status code: 401
    """
    data = raw_data if isinstance(raw_data, dict) else {"": raw_data}
    known = {field: data[field] for field in FIRST_FIELDS if field in data}
    rest = {key: value for key, value in data.items() if key not in known}

    def lines() -> Iterator[str]:
        yield _readable(task)
        yield from (text for _, text in _fields(known))
        for label, text in chain([("agent", _readable(agent))], _fields(rest)):
            yield f"{label}: {text}" if label and text else text

    return _joined(filter(None, lines()))


def is_dialogue(value: object) -> TypeGuard[list[Mapping[str, object]]]:
    """Whether these are messages as chats exchange them, each with a `role` and its `content`."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(message, dict)
            and isinstance(message.get("role"), str)
            and isinstance(message.get("content"), str)
            for message in value
        )
    )


def spoken_line(message: Mapping[str, object]) -> str:
    """What is searched of a message: who said what. Nothing where nothing is said."""
    content = _readable(str(message["content"]), MAX_CHARACTERS)
    return f"{_readable(str(message['role']))}: {content}" if content else ""


def text_hash(text: str) -> str:
    """SHA-256 of the text, in hex: a memory whose text has not changed needs no new embedding."""
    return hashlib.sha256(text.encode()).hexdigest()


def _joined(lines: Iterable[str]) -> str:
    """Takes no more lines than fit, so that a body of megabytes costs little."""
    taken, room = [], MAX_CHARACTERS
    for line in lines:
        taken.append(line)
        room -= len(line) + 1
        if room < 0:
            break
    return _cut("\n".join(taken), MAX_CHARACTERS)


def _fields(tree: dict[str, object]) -> Iterator[tuple[str, str]]:
    """(label, text) of every value, level by level: what lies deep says less and comes last.

    A queue and no recursion: JSON may be nested deeper than Python's stack.
    """
    queue: deque[tuple[tuple[str, ...], object]] = deque([((), tree)])
    while queue:
        keys, value = queue.popleft()
        if isinstance(value, dict):
            for key in sorted(value, key=_order) if len(value) > 1 else value:
                queue.append(((*keys, _spoken(key))[-MAX_KEYS:], value[key]))
        elif not isinstance(value, list):
            yield " ".join(filter(None, keys)), _scalar(value)
        elif is_dialogue(value):
            yield from (("", spoken_line(message)) for message in value)
        else:
            yield " ".join(filter(None, keys)), _listed(value)
            queue.extend((keys, item) for item in value if isinstance(item, dict | list))


def _order(key: str) -> tuple[int, str]:
    return FIRST_FIELDS.index(key) if key in FIRST_FIELDS else len(FIRST_FIELDS), key


@lru_cache(maxsize=10_000)
def _spoken(key: str) -> str:
    """`statusCode` and `status_code` are "status code"; a key that is an id says nothing."""
    return _readable(_KEY_BREAK.sub(" ", _readable(key))[:60]).lower()


def _listed(values: list[object]) -> str:
    numbers = sum(isinstance(value, int | float) for value in values)
    words = (value for value in values if numbers <= MAX_NUMBERS or not isinstance(value, int | float))
    texts = (_scalar(value) for value in words if not isinstance(value, dict | list))
    return _cut(", ".join(filter(None, texts)), MAX_VALUE_CHARACTERS)


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return _readable(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) and abs(value) < ID_NUMBER:  # not so for NaN
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    return ""


def _readable(value: str, limit: int = MAX_VALUE_CHARACTERS) -> str:
    """The words of a string: URLs without scheme, credentials and query; no ids, keys or encoded data."""
    value = value[: 4 * limit]
    if not value.isascii():
        value = value.encode("utf-8", "ignore").decode()  # no lone surrogates
    # Most strings have nothing to take out, and looking for that first makes them five times as cheap.
    if "data:" in value or "eyJ" in value:
        value = _ENCODED.sub("", value)
    if "://" in value:
        value = _URL.sub(r"\1", value)
    value = _LONG_RUN.sub(_without_noise, value)
    return _cut(" ".join(value.split()), limit) if _WORD.search(value) else ""


def _without_noise(run: re.Match[str]) -> str:
    if run[0].isalpha() and len(run[0]) < LONG_WORD:
        return run[0]
    if _is_encoded(run[0]):
        return ""
    return "/".join(part for part in run[0].split("/") if not _ID.fullmatch(part))


def _is_encoded(run: str) -> bool:
    """Base64, tokens and keys: long, and changing between capitals, small letters and digits all the time.

    In random base64 a new run starts at 4 of 10 characters, in `getUserByIdV2FromClient` at 3.
    """
    letters = _SEPARATORS.sub("", run)
    if len(letters) < 20 or letters.isalpha():
        return max(map(len, _SEPARATORS.split(run))) >= LONG_WORD
    return sum(_starts_run(one, other) for one, other in pairwise(letters)) >= len(letters) / 3


def _starts_run(before: str, character: str) -> bool:
    """Whether a digit follows a letter, a letter a digit, or a capital a small letter (not the reverse)."""
    return before.isdigit() != character.isdigit() or (before.islower() and character.isupper())


def _cut(text: str, limit: int) -> str:
    """At most `limit` characters, ending with a whole word."""
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    end = max(head.rfind(" "), head.rfind("\n"))
    return head[: end if end > limit // 2 else limit].rstrip()
