"""How many streams are open, so that one key cannot take all of them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings


class TooManyStreams(Exception):
    """The owner has LIVE_STREAMS_PER_KEY streams open."""

    def __init__(self) -> None:
        super().__init__(
            f"{settings.LIVE_STREAMS_PER_KEY} live streams are open already (LIVE_STREAMS_PER_KEY). "
            "Close one, or follow several tenants with one stream."
        )


_open: Counter[str] = Counter()


def refuse_if_full(owner: str) -> None:
    """Raises TooManyStreams. `owner`: a key or a user of the admin. Empty: everybody, where no key is asked for."""
    if owner and settings.LIVE_STREAMS_PER_KEY and _open[owner] >= settings.LIVE_STREAMS_PER_KEY:
        raise TooManyStreams


@contextmanager
def opened(owner: str) -> Iterator[None]:
    """Count a stream of the owner while the block runs. Raises TooManyStreams. Counts in this process only."""
    refuse_if_full(owner)
    _open[owner] += 1
    try:
        yield
    finally:
        _open[owner] -= 1
        if not _open[owner]:
            del _open[owner]
