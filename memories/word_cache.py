"""A cache for functions of one word, with a bound on the memory that it takes."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

Result = TypeVar("Result")


def cache_short_words(
    *, maxsize: int, max_length: int
) -> Callable[[Callable[[str], Result]], Callable[[str], Result]]:
    """Cache the results for the `maxsize` words that were used last, except for words above `max_length` characters.

    Words come from users. A bound on their number alone would let a few long ones take all memory.
    """

    def decorate(function: Callable[[str], Result]) -> Callable[[str], Result]:
        cached = lru_cache(maxsize)(function)

        @wraps(function)
        def call(word: str) -> Result:
            return cached(word) if len(word) <= max_length else function(word)

        call.cache_info = cached.cache_info  # type: ignore[attr-defined]
        return call

    return decorate
