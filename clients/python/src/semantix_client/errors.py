"""One exception for each kind of problem that the service answers with."""

from typing import Any

import httpx


class SemantixError(Exception):
    """The service refused a request. `detail` says why, `errors` where: a list of {"pointer", "detail"}.

    `code` ends the problem's type; `status` is the HTTP status. `retry_after`: seconds the service asks to wait.
    `uncertain`: an earlier attempt of the same request had no answer, so that it may have been carried out.
    """

    def __init__(
        self,
        detail: str,
        *,
        code: str = "",
        status: int = 0,
        errors: list[dict[str, Any]] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.detail, self.code, self.status = detail, code, status
        self.errors = errors or []
        self.retry_after = retry_after
        self.uncertain = False
        where = "; ".join(f"{error.get('pointer', '')}: {error.get('detail', '')}" for error in self.errors)
        super().__init__(f"{detail} ({where})" if where and where not in detail else detail)


class Invalid(SemantixError):
    """400, 415, 422: something in the request is wrong; sending it again does not help."""


class NotAuthenticated(SemantixError):
    """401: no API key, or one that is unknown, revoked or expired."""


class Forbidden(SemantixError):
    """403: the API key is for another user or project."""


class NotFound(SemantixError):
    """404: not there, or not yours."""


class Conflict(SemantixError):
    """409: another request is in progress, or the state is another than the request expects."""


class PreconditionFailed(SemantixError):
    """412: the memory is at another version."""


class TooLarge(SemantixError):
    """413: more than the service takes in one request."""


class Throttled(SemantixError):
    """429: too many requests."""


class QuotaExceeded(SemantixError):
    """507: a quota of the API key is used up."""


class Unavailable(SemantixError):
    """503: the service cannot do it now, and did not later within the client's patience."""


class ServerError(SemantixError):
    """Another 5xx: a fault of the service."""


class Unreachable(SemantixError):
    """No answer: the service could not be reached. A write may have happened all the same."""


BY_STATUS: dict[int, type[SemantixError]] = {
    400: Invalid,
    401: NotAuthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: TooLarge,
    415: Invalid,
    422: Invalid,
    429: Throttled,
    431: TooLarge,
    503: Unavailable,
    507: QuotaExceeded,
}


def error_of(response: httpx.Response) -> SemantixError:
    """The exception for a problem document, or for an answer that is none (from a proxy, say)."""
    status = response.status_code
    told = {"detail": f"HTTP {status} from {response.request.url.host}", **_problem(response)}
    return error_of_problem({**told, "status": status}, retry_after=retry_after_of(response))


def error_of_problem(problem: dict[str, Any], *, retry_after: float | None = None) -> SemantixError:
    """The exception for a problem document."""
    status = int(problem["status"])
    fallback = ServerError if status >= 500 else Invalid
    return BY_STATUS.get(status, fallback)(
        str(problem["detail"]),
        code=str(problem.get("type", "")).rpartition(":")[2],
        status=status,
        errors=problem.get("errors"),
        retry_after=retry_after,
    )


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def retry_after_of(response: httpx.Response) -> float | None:
    """The header Retry-After in seconds; None without one."""
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None
