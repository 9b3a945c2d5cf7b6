"""Errors as problem documents: application/problem+json (RFC 9457)."""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.response import Response
from rest_framework.views import exception_handler

from memories.api.errors import (
    CountNotConfirmed,
    ExternalIdConflict,
    IdempotencyKeyReused,
    Invalid,
    PreconditionFailed,
    RequestInFlight,
    ServiceUnavailable,
    StorageQuotaExceeded,
    TooLarge,
    TooManyWaitingEvents,
)
from memories.api.strict_json import Refusal, escaped
from memories.api.throttling import count_refusal
from memories.auth.quotas import QuotaExceeded, TooManyWaiting
from memories.conversations.turns import KeyReused as TurnsKeyReused
from memories.models import MemoryLog
from memories.records.bulk_deletion import CountDiffers
from memories.records.idempotency import InFlight, KeyReused
from memories.records.services import ExternalIdTaken, VersionConflict
from memories.search.across import TooManyProjects
from outbox import BacklogTooDeep, Unavailable

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
# Retry-After, in seconds, while a store does not answer.
RETRY_AFTER = 5
# SQLSTATE classes: the connection is lost (08), the server has no more connections (53), it shuts down (57).
AWAY = ("08", "53", "57")
DISK_FULL = "53100"
# SQLSTATE of a statement that PostgreSQL stopped, after `statement_timeout` or on an operator's request.
STOPPED = "57014"
# When the connection is lost during a commit, nobody knows whether the commit happened.
AGAIN = "Try again: with the same Idempotency-Key nothing is stored twice."

# The same text for a missing memory and for one of another tenant, so that a client cannot tell them apart.
UNSEEN = "This id does not exist, or this request may not see it."

KEY_NEEDED = (
    "An API key is needed, in the header Authorization: Bearer <key>. The operator of the service makes one: manage.py "
    "create_api_key --user-id USER."
)

E = TypeVar("E", bound=BaseException | None)


def handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. It keeps status and headers and makes the body a problem document."""
    known = _counted(translated(error), context["request"])
    response = exception_handler(known, context)
    if response is None or not isinstance(known, exceptions.APIException):
        return response
    response.data = problem_of(known)
    # The browsable API shows the problem in an HTML page.
    if not isinstance(getattr(context["request"], "accepted_renderer", None), BrowsableAPIRenderer):
        response.content_type = CONTENT_TYPE
    return response


def _counted(error: E, request: Any) -> E | exceptions.Throttled:
    """The error, or a 429 if it is a 401 and its address has sent too many requests without a valid key."""
    if isinstance(error, exceptions.AuthenticationFailed | exceptions.NotAuthenticated):
        try:
            count_refusal(request.META.get("REMOTE_ADDR", ""))
        except exceptions.Throttled as throttled:
            return throttled
    return error


def problem_of(error: exceptions.APIException) -> dict[str, Any]:
    """The problem document of an error. Its `type` ends in the error's code; its `errors` point into the request."""
    refusals: Sequence[Refusal] = ()
    if isinstance(error, Invalid):
        refusals = error.refusals
    elif isinstance(error, exceptions.ValidationError):
        refusals = list(_refusals(error.detail))
    detail = _summary(refusals) if refusals else str(error.detail)
    if isinstance(error, exceptions.NotAuthenticated):
        detail = KEY_NEEDED
    return problem(error.status_code, error.default_code, detail, refusals)


def problem(status: int, code: str, detail: str, refusals: Iterable[Refusal] = ()) -> dict[str, Any]:
    """A problem document. `code` ends its `type`; `refusals` become its `errors`."""
    body: dict[str, Any] = {
        "type": f"urn:semantix:problem:{code.replace('_', '-')}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    errors = [refusal._asdict() for refusal in refusals]
    return body | {"errors": errors} if errors else body


def translated(error: E) -> E | exceptions.APIException:
    """The DRF error for an error of this service; any other error unchanged."""
    match error:
        case RequestDataTooBig():
            return TooLarge()
        case Http404() | MemoryLog.DoesNotExist():
            return exceptions.NotFound(UNSEEN)
        case PermissionDenied():
            return exceptions.PermissionDenied()
        case VersionConflict():
            return PreconditionFailed(f"{error} Read it again before you change it.")
        case CountDiffers():
            return CountNotConfirmed(
                f"{error} Nothing was deleted. Send confirm={error.found} to delete them."
            )
        case TooManyProjects():
            return Invalid([Refusal("/project_id", str(error))])
        case ExternalIdTaken():
            return ExternalIdConflict(
                f"{error} Nothing was stored. PUT /memory-logs/external/{{external_id}} replaces it."
            )
        case InFlight():
            return RequestInFlight(str(error))
        case QuotaExceeded():
            return StorageQuotaExceeded(str(error))
        case TooManyWaiting():
            return TooManyWaitingEvents(str(error))
        case BacklogTooDeep():
            return ServiceUnavailable(f"{error} Nothing was stored. Try again later.", error.retry_after)
        case KeyReused() | TurnsKeyReused():
            return IdempotencyKeyReused(str(error))
        case BadRequest():
            return exceptions.ParseError(str(error))
        case Unavailable():
            return ServiceUnavailable(str(error), math.ceil(error.retry_after or RETRY_AFTER))
        case OperationalError() | InterfaceError():
            return ServiceUnavailable(_of_postgres(error), RETRY_AFTER)
    return error


def _of_postgres(error: Exception) -> str:
    # For the operator only: the driver's message names hosts, files and accounts.
    logger.warning("PostgreSQL: %s", " ".join(str(error).split()))
    state = getattr(error.__cause__, "sqlstate", None)
    if state == DISK_FULL:
        return "PostgreSQL has no room on its disk. Nothing of this request was stored. Try again later."
    if state == STOPPED:
        return (
            "PostgreSQL stopped a statement that took too long (DATABASE_STATEMENT_SECONDS). Nothing of this "
            "request was stored. Send less at once, or try again later."
        )
    if state is None or state.startswith(AWAY):
        return f"PostgreSQL does not answer. {AGAIN}"
    return f"PostgreSQL stopped this request (SQLSTATE {state}). {AGAIN}"


def _refusals(data: Any, pointer: str = "") -> Iterator[Refusal]:
    """DRF's errors, which are nested like the fields, as a flat list with pointers."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _refusals(value, pointer if key == "non_field_errors" else f"{pointer}/{escaped(key)}")
    elif isinstance(data, list) and any(isinstance(item, dict | list) for item in data):
        for index, value in enumerate(data):
            yield from _refusals(value, f"{pointer}/{index}")
    else:
        for text in data if isinstance(data, list) else [data]:
            yield Refusal(pointer, str(text))


def _summary(refusals: Sequence[Refusal]) -> str:
    first = refusals[0]
    more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
    return f"{first.pointer or 'body'}: {first.detail}{more}"
