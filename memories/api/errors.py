"""What the API raises beyond DRF's own errors. The words of each are for the client; problems.py gives the shape.

A `default_code` is part of the interface: it ends the problem's `type`, and docs/reference/api.md lists it.
"""

from collections.abc import Iterable, Sequence

from django.conf import settings
from rest_framework.exceptions import APIException

from memories.api.strict_json import Refusal


class Invalid(APIException):
    """The request's body cannot be taken; `refusals` say where and why."""

    status_code = 400
    default_code = "invalid"

    def __init__(self, refusals: Iterable[Refusal]) -> None:
        self.refusals: Sequence[Refusal] = tuple(refusals)
        super().__init__(self.refusals[0].detail)


class TooLarge(APIException):
    status_code = 413
    default_code = "too_large"

    def __init__(self) -> None:
        super().__init__(
            f"A body may have {settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes (MAX_BODY_BYTES). Send it in parts."
        )


class PreconditionFailed(APIException):
    status_code = 412
    default_code = "precondition_failed"


class ServiceUnavailable(APIException):
    """A store does not answer; the client may try again in `retry_after` seconds."""

    status_code = 503
    default_code = "unavailable"

    def __init__(self, detail: str, retry_after: int = 5) -> None:
        super().__init__(detail)
        self.wait = retry_after  # DRF makes it the Retry-After header


class RequestInFlight(APIException):
    """The same request is being worked on; the client may ask again in a second."""

    status_code = 409
    default_code = "in_flight"
    wait = 1


class IdempotencyKeyReused(APIException):
    status_code = 422
    default_code = "idempotency_key_reused"


class CountNotConfirmed(APIException):
    """A bulk deletion matches another number of memories than the client expects."""

    status_code = 409
    default_code = "count_differs"
