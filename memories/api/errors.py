"""The API's own errors, besides those of DRF. problems.py turns them into problem documents.

A `default_code` is part of the interface: the problem's `type` ends in it, and docs/reference/api.md lists it.
"""

from collections.abc import Iterable, Sequence

from django.conf import settings
from rest_framework.exceptions import APIException

from memories.api.strict_json import Refusal


class Invalid(APIException):
    """The body is invalid; `refusals` say where and why."""

    status_code = 400
    default_code = "invalid"

    def __init__(self, refusals: Iterable[Refusal]) -> None:
        self.refusals: Sequence[Refusal] = tuple(refusals)
        super().__init__(self.refusals[0].detail)


class TooLarge(APIException):
    """The body is larger than MAX_BODY_BYTES."""

    status_code = 413
    default_code = "too_large"

    def __init__(self) -> None:
        super().__init__(
            f"A body may have {settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes (MAX_BODY_BYTES). "
            "Send the content in several requests."
        )


class RequestTimeout(APIException):
    """The body did not arrive in time."""

    status_code = 408
    default_code = "request_timeout"
    default_detail = "The body of the request did not arrive in time. Send the request again."


class PreconditionFailed(APIException):
    """The memory is not at the version that If-Match names."""

    status_code = 412
    default_code = "precondition_failed"


class ServiceUnavailable(APIException):
    """The service cannot do this now. The client may try again after `retry_after` seconds."""

    status_code = 503
    default_code = "unavailable"

    def __init__(self, detail: str, retry_after: int = 5) -> None:
        super().__init__(detail)
        self.wait = retry_after  # DRF sends it as Retry-After


class StorageQuotaExceeded(APIException):
    """The key has stored as much as QUOTA_MEMORIES or QUOTA_BYTES allows."""

    status_code = 507
    default_code = "quota_exceeded"


class TooManyWaitingEvents(APIException):
    """As many events of the key wait as QUOTA_WAITING_EVENTS allows."""

    status_code = 429
    default_code = "too_many_waiting"
    wait = 5


class TooManyLiveStreams(APIException):
    """The caller has LIVE_STREAMS_PER_KEY streams open."""

    status_code = 429
    default_code = "too_many_streams"
    wait = 5


class RequestInFlight(APIException):
    """The same request is in progress. The client may repeat it after a second."""

    status_code = 409
    default_code = "in_flight"
    wait = 1


class ExternalIdConflict(APIException):
    """Another memory of the tenant has this external id."""

    status_code = 409
    default_code = "external_id_taken"


class IdempotencyKeyReused(APIException):
    """The Idempotency-Key belongs to another request."""

    status_code = 422
    default_code = "idempotency_key_reused"


class CountNotConfirmed(APIException):
    """A bulk deletion matches another number of memories than the client expects."""

    status_code = 409
    default_code = "count_differs"
