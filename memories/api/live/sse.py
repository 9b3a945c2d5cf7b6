"""GET /memory-logs/events: live updates as server-sent events."""

from collections.abc import AsyncIterator

import psycopg
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import APIException, MethodNotAllowed, ParseError

from memories.api.errors import ServiceUnavailable
from memories.api.live.admission import admit, still_admitted
from memories.api.problems import CONTENT_TYPE, problem_of
from memories.live.following import Heartbeat, follow
from memories.live.tail import tail
from memories.live.update import Update
from outbox.queue.stream import Position

# What a browser waits before it connects again.
RETRY_MILLISECONDS = 2000
DATABASE_AWAY = "PostgreSQL does not answer. Connect again in a moment."


@csrf_exempt  # it changes nothing, and what is no GET is to learn that
async def events(request: HttpRequest) -> HttpResponseBase:
    """Open the stream after Last-Event-ID (header, or `last_event_id` in the query), or from now on."""
    authorization = request.headers.get("Authorization", "")
    if request.method != "GET":
        return _refusal(MethodNotAllowed(request.method or ""), headers={"Allow": "GET"})
    try:
        user = await request.auser() if hasattr(request, "auser") else None
        access = await admit(authorization, user, request.GET.dict())
        start = resume_from(request.headers.get("Last-Event-ID") or request.GET.get("last_event_id"))
        shared = tail()
        position = start or await shared.newest()
    except APIException as refusal:
        return _refusal(refusal)
    except (psycopg.Error, DatabaseError):
        return _refusal(ServiceUnavailable(DATABASE_AWAY), headers={"Retry-After": "5"})

    async def stream() -> AsyncIterator[str]:
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        async with shared:
            async for item in follow(shared, access, position):
                yield as_event(item)
                if isinstance(item, Heartbeat) and not await still_admitted(authorization):
                    return

    return StreamingHttpResponse(
        stream(),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def resume_from(last_event_id: str | None) -> Position | None:
    """Raises ParseError for an id that the stream never gave."""
    try:
        return Position.parse(last_event_id) if last_event_id else None
    except ValueError as error:
        raise ParseError(f"Last-Event-ID: {error}.") from error


def as_event(item: Update | Heartbeat) -> str:
    """A heartbeat carries an id, too: whoever connects again skips what it need not look at twice."""
    if isinstance(item, Heartbeat):
        return f": heartbeat\nid: {item.position}\n\n"
    return f"id: {item.position}\nevent: {item.type}\ndata: {item.data}\n\n"


def _refusal(error: APIException, headers: dict[str, str] | None = None) -> HttpResponse:
    answer = JsonResponse(
        problem_of(error), status=error.status_code, content_type=CONTENT_TYPE, headers=headers
    )
    if error.status_code == 401:
        answer["WWW-Authenticate"] = 'Bearer realm="semantix"'
    return answer
