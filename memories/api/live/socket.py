"""ws /ws/memory-logs/events: the same live updates over a WebSocket, a JSON object in each message."""

import asyncio
from contextlib import suppress
from urllib.parse import parse_qsl

import psycopg
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from rest_framework.exceptions import APIException

from memories.api.live import origin
from memories.api.live.admission import Admission, Sender, admit, session_key_of
from memories.api.live.sse import DATABASE_AWAY, reset_message, resume_from
from memories.live import streams
from memories.live.following import Heartbeat, Reset, follow
from memories.live.reader import Start
from memories.live.streams import TooManyStreams
from memories.live.tail import tail
from memories.live.update import Update

# The close codes: the status of HTTP after a 4. 4000 and above are free for applications.
CLOSE = {400: 4400, 401: 4401, 403: 4403, 429: 4429, 503: 4503}


class LiveUpdates(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels is untyped
    """Reads nothing from the client. `last_event_id` in the query resumes after the `id` of a message.

    A page of another site is refused with 403 before the socket opens. Any other refusal closes the open socket with
    a code of CLOSE and the reason: a browser tells a page nothing about a refused handshake.
    """

    async def connect(self) -> None:
        self.following: asyncio.Task[None] | None = None
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in self.scope["headers"]}
        if origin.refuses(headers):
            await self.close()
            return
        query = dict(parse_qsl(self.scope["query_string"].decode("latin-1")))
        await self.accept()
        try:
            admission = await admit(self._sender(headers), query)
            resumed = resume_from(query.get("last_event_id"))
            streams.refuse_if_full(admission.owner)
            start = await tail().reader.start(resumed)
        except APIException as refusal:
            await self.close(CLOSE[refusal.status_code], str(refusal.detail))
        except TooManyStreams as refusal:
            await self.close(CLOSE[429], str(refusal))
        except (psycopg.Error, DatabaseError, InterfaceError):
            await self.close(CLOSE[503], DATABASE_AWAY)
        else:
            self.following = asyncio.create_task(self._follow(admission, start))

    def _sender(self, headers: dict[str, str]) -> Sender:
        client = self.scope.get("client") or ("",)
        return Sender(headers.get("authorization", ""), session_key_of(self.scope["cookies"]), client[0])

    async def _follow(self, admission: Admission, start: Start) -> None:
        try:
            with streams.opened(admission.owner):
                await self._send_all(admission, start)
        except TooManyStreams as refusal:
            await self.close(CLOSE[429], str(refusal))
        except psycopg.Error:
            await self.close(CLOSE[503], DATABASE_AWAY)

    async def _send_all(self, admission: Admission, start: Start) -> None:
        async with tail() as shared:
            heartbeat = settings.LIVE_HEARTBEAT_SECONDS
            async for item in follow(shared, admission.access, start, heartbeat=heartbeat):
                await self.send(_message(item))
                if isinstance(item, Heartbeat) and not await admission.is_valid():
                    await self.close(CLOSE[401], "The API key or the session is no longer valid.")
                    return

    async def disconnect(self, code: int) -> None:
        if self.following:
            self.following.cancel()
            with suppress(asyncio.CancelledError):
                await self.following


def _message(item: Update | Heartbeat | Reset) -> str:
    if isinstance(item, Reset):
        return reset_message(item)
    return f'{{"type": "heartbeat", "id": "{item.position}"}}' if isinstance(item, Heartbeat) else item.data
