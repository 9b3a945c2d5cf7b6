"""Account for the memory that request bodies occupy."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from memories.api.errors import ServiceUnavailable

# One client may fill the total divided by this.
SHARE = 4


class BodyMemory:
    """The bytes of all bodies that the process holds, in total and by client."""

    def __init__(self) -> None:
        self.total = 0
        self._by_client: Counter[str] = Counter()

    @contextmanager
    def account(self, client: str) -> Iterator["Account"]:
        """The account of one request. Its bytes are free again at the end of the `with`."""
        account = Account(self, client)
        try:
            yield account
        finally:
            self.add(client, -account.size)
            if not self._by_client[client]:
                del self._by_client[client]

    def add(self, client: str, size: int) -> None:
        self.total += size
        self._by_client[client] += size

    def is_full(self, client: str) -> bool:
        most: int = settings.WEB_BODIES_BYTES
        return self.total > most or self._by_client[client] > most // SHARE


class Account:
    """The bytes of one body."""

    def __init__(self, memory: BodyMemory, client: str) -> None:
        self.size = 0
        self._memory = memory
        self._client = client

    def add(self, size: int) -> None:
        """Raises ServiceUnavailable where all bodies together, or those of this client, are too large."""
        self.size += size
        self._memory.add(self._client, size)
        if self._memory.is_full(self._client):
            raise ServiceUnavailable("Too many large requests arrive at the same time. Send fewer.", 1)
