"""The exceptions that a handler raises to report a kind of failure, and the exceptions of publishing.

Any other exception from a handler is an *error*: the attempt counts, and the event is retried after a backoff.
"""

import traceback


class Unavailable(Exception):
    """A dependency does not answer now (connection refused, timeout, 429, 503). The event is not at fault.

    The attempt does not count. The dependency's circuit opens: no event that needs the dependency is claimed
    until a probe tries it again. `retry_after`: seconds to wait, if the dependency named them.
    """

    def __init__(self, dependency: str, reason: object = "", *, retry_after: float | None = None) -> None:
        self.dependency = dependency
        self.reason = str(reason) or "unavailable"
        self.retry_after = retry_after
        super().__init__(f"{dependency} is unavailable: {self.reason}")


class Reject(Exception):
    """The event can never succeed. It is dead at once, with this reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class WorkerLost(Exception):
    """Never raised. It names the error of an attempt whose worker was killed and could raise nothing."""


class BacklogTooDeep(Exception):
    """More events wait than OUTBOX_MAX_BACKLOG allows. There is room again in about `retry_after` seconds."""

    def __init__(self, depth: int, limit: int, *, retry_after: int, is_share: bool = False) -> None:
        self.retry_after = retry_after
        whose, most = (" of yours", "your share of ") if is_share else ("", "")
        super().__init__(f"{depth:,} events{whose} wait to be delivered, more than {most}{limit:,}.")


class NotInTransaction(RuntimeError):
    """`publish()` was called outside a transaction: the change and its event could be stored one without the other."""


class UnknownEventType(LookupError):
    """The event type has neither a handler nor a declaration. Most likely its name is misspelt."""


def kind_and_place(error: BaseException) -> str:
    """The class of an error, and where it was raised. For logs: a message may quote the data that was handled."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name} ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{place}"
