"""Caches of what users write are bounded in bytes, not only in entries."""

import tracemalloc
from random import Random

from memories.embeddings.hashing import HashingBackend
from memories.text import searchable_text
from memories.word_cache import cache_short_words

random = Random(1)


def word(length: int) -> str:
    return "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=length))


def held_after(*texts: str) -> int:
    """Bytes that are still held after the texts were embedded, and used as keys of raw_data."""
    backend = HashingBackend()
    backend.embed_documents(["warm up"])
    tracemalloc.start()
    try:
        for text in texts:
            backend.embed_documents([text])
            searchable_text("task", "agent", {text: "value"})
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_long_words_leave_nothing_in_memory() -> None:
    assert held_after(*(word(4_000) for _ in range(60))) < 200_000


def test_short_words_are_computed_once() -> None:
    calls = []

    @cache_short_words(maxsize=2, max_length=3)
    def length(text: str) -> int:
        calls.append(text)
        return len(text)

    assert [length(each) for each in ("abc", "abc", "abcd", "abcd")] == [3, 3, 4, 4]
    assert calls == ["abc", "abcd", "abcd"]
