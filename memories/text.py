"""The searchable text of a memory: the words of its JSON that are embedded and searched.

The same memory always gives the same text, whatever the order of its keys (jsonb does not keep the order), because
the hash of the text decides whether a changed memory is embedded again. docs/explanation/text-extraction.md has
the rules and examples.
"""

import hashlib
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, pairwise

from memories.dialogue import (
    BOOKKEEPING,
    is_dialogue,
    is_saved_conversation,
    said,
    speaker,
    task_of,
)
from memories.word_cache import cache_short_words

# These fields come first: then the length limit does not cut them, and every embedding backend gives them more weight.
FIRST_FIELDS = ("summary", "solution", "tags", "component")
# About 2,000 tokens of English.
MAX_CHARACTERS = 8_000
# Otherwise one log or file dump would push out everything after it.
MAX_VALUE_CHARACTERS = 4_000
# A list with more numbers than this is data (an embedding, a series), so its numbers are left out.
MAX_NUMBERS = 16
# Larger numbers are ids and epochs, so they are left out.
ID_NUMBER = 1_000_000_000
# A longer run of letters is encoded data.
LONG_WORD = 60
# The label of a value has at most this many of the keys above it.
MAX_KEYS = 3

_URL = re.compile(r"\b(?:https?|wss?|ftp)://(?:[^\s/@]*@)?([^\s?#\"'<>]+)[^\s\"'<>]*", re.IGNORECASE)
# Data URLs (files in base64) and JSON web tokens.
_ENCODED = re.compile(r"\bdata:[\w/.+;=-]*,\S*|\beyJ[\w-]{10,}(?:\.[\w-]*)*", re.ASCII)
_LONG_RUN = re.compile(r"[\w+/=-]{10,}", re.ASCII)
_ID = re.compile(r"\d{10,}|(?:0x)?(?=.*\d)[0-9a-f]{12,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_WORD = re.compile(r"[^\W_]")
_SEPARATORS = re.compile(r"[-_/+=]")
_KEY_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[\W_]+")


def searchable_text(task: str, agent: str, raw_data: object) -> str:
    """One line for each field: the task, the FIRST_FIELDS, the agent, then the other values after their keys.

    Returns at most MAX_CHARACTERS characters.

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
    if is_saved_conversation(raw_data, agent):
        return _conversation_text(task, raw_data)
    data = raw_data if isinstance(raw_data, dict) else {"": raw_data}
    known = {field: data[field] for field in FIRST_FIELDS if field in data}
    rest = {key: value for key, value in data.items() if key not in known}

    def lines() -> Iterator[str]:
        yield _readable(task)
        yield from (text for _, text in _fields(known))
        for label, text in chain([("agent", _readable(agent))], _fields(rest)):
            yield f"{label}: {text}" if label and text else text

    return _joined(filter(None, lines()))


def _conversation_text(task: str, raw_data: dict[str, object]) -> str:
    """The lines of a saved conversation: who said what, and what its owner added to the memory. Nothing else.

    What the service itself writes (the task, the agent, the number of the part and its turns) is in every memory of
    this kind: it would make each of them similar to a question for "the first turn" or "a conversation".
    """
    own_task = task_of(raw_data["conversation_id"], raw_data.get("part"))
    turns = raw_data["turns"]
    rest = {name: value for name, value in raw_data.items() if name not in BOOKKEEPING and name != "turns"}
    known = {field: rest.pop(field) for field in FIRST_FIELDS if field in rest}

    def lines() -> Iterator[str]:
        yield "" if task == own_task else _readable(task)
        yield from (text for _, text in _fields(known))
        for turn in turns if isinstance(turns, list) else ():
            yield spoken_line(turn if isinstance(turn, dict) else {"content": turn})
        yield from (f"{label}: {text}" if label and text else text for label, text in _fields(rest))

    # Embedding providers refuse an empty text, so a conversation without a word (only calls without names, only
    # pictures) has its task.
    return _joined(filter(None, lines())) or _readable(task)


def spoken_line(message: Mapping[str, object]) -> str:
    """The searchable line of a chat message: who said what; "" when no words are left of what was said."""
    words, room = [], MAX_CHARACTERS
    for text in said(message):
        if readable := _readable(text, MAX_CHARACTERS):
            words.append(readable)
            room -= len(readable) + 1
        if room < 0:
            break
    content, who = _cut(" ".join(words), MAX_CHARACTERS), _readable(speaker(message))
    return f"{who}: {content}" if content and who else content


def text_hash(text: str) -> str:
    """The SHA-256 of the text in hex. A memory whose hash is unchanged needs no new embedding."""
    return hashlib.sha256(text.encode()).hexdigest()


def _joined(lines: Iterable[str]) -> str:
    """Join lines until the text is full. Later lines are not even computed, so a body of megabytes costs little."""
    taken, room = [], MAX_CHARACTERS
    for line in lines:
        taken.append(line)
        room -= len(line) + 1
        if room < 0:
            break
    return _cut("\n".join(taken), MAX_CHARACTERS)


def _fields(tree: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Yield (label, text) of every value, level by level: deep values say less, so they come last.

    It uses a queue and no recursion, because JSON may be nested deeper than Python's stack.
    """
    queue: deque[tuple[tuple[str, ...], object]] = deque([((), tree)])
    while queue:
        keys, value = queue.popleft()
        if isinstance(value, dict):
            for key in sorted(value, key=_order) if len(value) > 1 else value:
                queue.append(((*keys, _words(key))[-MAX_KEYS:], value[key]))
        elif not isinstance(value, list):
            yield " ".join(filter(None, keys)), _scalar(value)
        elif is_dialogue(value):
            yield from (("", spoken_line(message)) for message in value)
        else:
            yield " ".join(filter(None, keys)), _listed(value)
            queue.extend((keys, item) for item in value if isinstance(item, dict | list))


def _order(key: str) -> tuple[int, str]:
    return FIRST_FIELDS.index(key) if key in FIRST_FIELDS else len(FIRST_FIELDS), key


@cache_short_words(maxsize=10_000, max_length=60)
def _words(key: str) -> str:
    """The words of a key: `statusCode` and `status_code` become "status code". A key that is an id has none."""
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
    if isinstance(value, int | float) and abs(value) < ID_NUMBER:  # false for NaN
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    return ""


def _readable(value: str, limit: int = MAX_VALUE_CHARACTERS) -> str:
    """The words of a string. A URL loses its scheme, credentials and query; ids, keys and encoded data go."""
    value = value[: 4 * limit]
    if not value.isascii():
        value = value.encode("utf-8", "ignore").decode()  # drops lone surrogates
    # Most strings have nothing to remove. These tests are five times as cheap as the expressions.
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
    """Whether the run is base64, a token or a key: long, with many changes between capitals, small letters and digits.

    In random base64 a new run starts at 4 of 10 characters, in `getUserByIdV2FromClient` at 3 of 10.
    """
    letters = _SEPARATORS.sub("", run)
    if len(letters) < 20 or letters.isalpha():
        return max(map(len, _SEPARATORS.split(run))) >= LONG_WORD
    return sum(_starts_run(one, other) for one, other in pairwise(letters)) >= len(letters) / 3


def _starts_run(before: str, character: str) -> bool:
    """Whether a digit follows a letter, a letter follows a digit, or a capital follows a small letter."""
    return before.isdigit() != character.isdigit() or (before.islower() and character.isupper())


def _cut(text: str, limit: int) -> str:
    """Cut the text to `limit` characters, at the end of a word where one is near."""
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    end = max(head.rfind(" "), head.rfind("\n"))
    return head[: end if end > limit // 2 else limit].rstrip()
