"""What a handler raises to say how it failed, and what publishing raises when it is used wrongly.

Any other exception out of a handler is an *error*: it counts, backs off and is retried.
"""


class Unavailable(Exception):
    """A dependency does not answer now (refused, timeout, 429, 503): no fault of the event.

    Counts no attempt and opens the dependency's circuit, so that no event needing it is claimed until it is
    tried again. `retry_after` is in seconds, where the dependency said how long to wait.
    """

    def __init__(self, dependency: str, reason: object = "", *, retry_after: float | None = None) -> None:
        self.dependency = dependency
        self.reason = str(reason) or "unavailable"
        self.retry_after = retry_after
        super().__init__(f"{dependency} is unavailable: {self.reason}")


class Reject(Exception):
    """The event can never succeed: dead at once, with this reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class WorkerLost(Exception):
    """Never raised: stands for an attempt whose worker was killed, and so could not say what happened."""


class BacklogTooDeep(Exception):
    """More events wait than are to; there is room again in about `retry_after` seconds."""

    def __init__(self, depth: int, most: int, *, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"{depth:,} events wait to be delivered, more than {most:,}.")


class NotInTransaction(RuntimeError):
    """`publish()` was called outside a transaction, so the event could outlive or miss its change."""


class UnknownEventType(LookupError):
    """The event type has neither a handler nor a declaration: a typing error, most likely."""
