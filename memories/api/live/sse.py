"""GET /memory-logs/events: live updates as server-sent events."""

import json
from collections.abc import AsyncIterator

import psycopg
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import APIException, MethodNotAllowed, ParseError

from memories.api.authentication import CHALLENGE
from memories.api.errors import ServiceUnavailable, TooManyLiveStreams
from memories.api.live.admission import Admission, Sender, admit, session_key_of
from memories.api.problems import CONTENT_TYPE, problem_of
from memories.live import streams
from memories.live.following import Heartbeat, Reset, follow
from memories.live.reader import Start
from memories.live.streams import TooManyStreams
from memories.live.tail import tail
from memories.live.update import Update
from outbox.queue.stream import Position

# How long a browser waits before it connects again.
RETRY_MILLISECONDS = 2000
# The first event of a client whose position is void.
RESET = "stream.reset"
RESET_REASON = (
    "The database was restored, or is another one: this position is not one of its stream. Updates continue from now "
    "on. Read again what you need of the memories: GET /memory-logs."
)
DATABASE_AWAY = "PostgreSQL does not answer. Connect again in a moment."


@csrf_exempt  # it changes nothing, and a POST must get 405 instead of a complaint about its token
async def events(request: HttpRequest) -> HttpResponseBase:
    """Open a stream. It begins after Last-Event-ID (header, or `last_event_id` in the query), or now."""
    if request.method != "GET":
        return _refusal(MethodNotAllowed(request.method or ""), headers={"Allow": "GET"})
    if _is_opened_by_a_person(request):
        return HttpResponse(
            render_to_string(
                "memories/stream.html", {"address": request.build_absolute_uri(), "name": "Live updates"}
            )
        )
    try:
        admission = await admit(_sender(request), request.GET.dict())
        resumed = resume_from(request.headers.get("Last-Event-ID") or request.GET.get("last_event_id"))
        streams.refuse_if_full(admission.owner)
        start = await tail().reader.start(resumed)
    except APIException as refusal:
        return _refusal(refusal)
    except TooManyStreams as refusal:
        return _refusal(TooManyLiveStreams(str(refusal)))
    except (psycopg.Error, DatabaseError, InterfaceError):
        return _refusal(ServiceUnavailable(DATABASE_AWAY), headers={"Retry-After": "5"})
    return StreamingHttpResponse(
        _stream(admission, start),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _is_opened_by_a_person(request: HttpRequest) -> bool:
    """Whether a browser opens the address as a page. An EventSource of a page accepts text/event-stream."""
    accepted = request.headers.get("Accept", "")
    return "text/html" in accepted and "text/event-stream" not in accepted


async def _stream(admission: Admission, start: Start) -> AsyncIterator[str]:
    """Ends when the client leaves or may not listen any longer, or when the database does not answer."""
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    try:
        with streams.opened(admission.owner):
            async with tail() as shared:
                heartbeat = settings.LIVE_HEARTBEAT_SECONDS
                async for item in follow(shared, admission.access, start, heartbeat=heartbeat):
                    yield as_event(item)
                    if isinstance(item, Heartbeat) and not await admission.is_valid():
                        return
    except (TooManyStreams, psycopg.Error):
        return  # the client connects again, and is told why it is refused


def _sender(request: HttpRequest) -> Sender:
    return Sender(
        request.headers.get("Authorization", ""),
        session_key_of(request.COOKIES),
        request.META.get("REMOTE_ADDR", ""),
    )


def resume_from(last_event_id: str | None) -> Position | None:
    """The position to continue from. Raises ParseError for an id that the stream never sends."""
    try:
        return Position.parse(last_event_id) if last_event_id else None
    except ValueError as error:
        raise ParseError(f"Last-Event-ID: {error}") from error


def reset_message(item: Reset) -> str:
    """The JSON object that tells a client that its position is void."""
    return json.dumps({"id": str(item.position), "type": RESET, "reason": RESET_REASON})


def as_event(item: Update | Heartbeat | Reset) -> str:
    """A heartbeat has an id too: a client that connects again skips what it need not read twice."""
    if isinstance(item, Heartbeat):
        return f": heartbeat\nid: {item.position}\n\n"
    if isinstance(item, Reset):
        return f"id: {item.position}\nevent: {RESET}\ndata: {reset_message(item)}\n\n"
    return f"id: {item.position}\nevent: {item.type}\ndata: {item.data}\n\n"


def _refusal(error: APIException, headers: dict[str, str] | None = None) -> HttpResponse:
    answer = JsonResponse(
        problem_of(error), status=error.status_code, content_type=CONTENT_TYPE, headers=headers
    )
    if wait := getattr(error, "wait", None):
        answer["Retry-After"] = str(int(wait))
    if error.status_code == 401:
        answer["WWW-Authenticate"] = CHALLENGE
    return answer
