"""ws /ws/memory-logs/events: the same live updates over a WebSocket, a JSON object a message."""

import asyncio
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

import psycopg
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import DatabaseError
from rest_framework.exceptions import APIException

from memories.api.live.admission import admit, still_admitted
from memories.api.live.sse import DATABASE_AWAY, resume_from
from memories.live.following import Heartbeat, follow
from memories.live.tail import tail

# Close codes of our own: HTTP's numbers behind a 4.
CLOSE = {400: 4400, 401: 4401, 403: 4403, 503: 4503}


class LiveUpdates(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels is untyped
    """Nothing is read from the client. `last_event_id` in the query resumes, as `id` of each message says."""

    async def connect(self) -> None:
        self.following: asyncio.Task[None] | None = None
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in self.scope["headers"]}
        query = dict(parse_qsl(self.scope["query_string"].decode("latin-1")))
        await self.accept()
        try:
            self.authorization = headers.get("authorization", "")
            access = await admit(self.authorization, self.scope.get("user"), query)
            start = resume_from(query.get("last_event_id"))
            position = start or await tail().newest()
        except APIException as refusal:
            await self.close(CLOSE[refusal.status_code], str(refusal.detail))
        except (psycopg.Error, DatabaseError):
            await self.close(CLOSE[503], DATABASE_AWAY)
        else:
            self.following = asyncio.create_task(self._follow(access, position))

    async def _follow(self, access: Any, position: Any) -> None:
        try:
            async with tail() as shared:
                async for item in follow(shared, access, position):
                    await self.send(_message(item))
                    if isinstance(item, Heartbeat) and not await still_admitted(self.authorization):
                        await self.close(CLOSE[401], "This API key is no longer good.")
                        return
        except psycopg.Error:
            await self.close(CLOSE[503], DATABASE_AWAY)

    async def disconnect(self, code: int) -> None:
        if self.following:
            self.following.cancel()
            with suppress(asyncio.CancelledError):
                await self.following


def _message(item: Any) -> str:
    return f'{{"type": "heartbeat", "id": "{item.position}"}}' if isinstance(item, Heartbeat) else item.data
