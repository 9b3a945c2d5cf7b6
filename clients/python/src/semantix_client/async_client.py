"""The asynchronous client."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import date as Date
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from semantix_client import calls
from semantix_client.calls import Call
from semantix_client.errors import PreconditionFailed, SemantixError
from semantix_client.events import EventParser
from semantix_client.models import Erasure, Event, Hit, Memory, TenantTotal, Turns
from semantix_client.retries import Attempts, pause_of_overtaken

# Seconds: for an answer, and for all attempts of a request together.
TIMEOUT, PATIENCE = 30.0, 60.0
# Memories of one batch, and tries of an update that others overtake.
BATCH, UPDATES = 500, 10
# Questions of one batch.
SEARCHES = 32

T = TypeVar("T")


class AsyncSemantix:
    """A connection to a Semantix service. Use it as an asynchronous context manager, or call `aclose()`.

    `user_id` and `project_id` are the tenant of all calls that name no other; a key of one project implies both.
    `patience`: seconds for which a request is tried again while the service cannot be reached or asks to wait.
    Safe to share between tasks.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        user_id: str | None = None,
        project_id: str | None = None,
        *,
        timeout: float = TIMEOUT,
        patience: float = PATIENCE,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._tenant = calls.given(user_id=user_id, project_id=project_id)
        self._timeout, self._patience = timeout, patience
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = http or httpx.AsyncClient(timeout=timeout)

    async def __aenter__(self) -> "AsyncSemantix":  # noqa: PYI034 - Python 3.10 has no typing.Self
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def remember(
        self,
        *,
        task: str,
        agent: str = "agent",
        raw_data: Mapping[str, Any] | None = None,
        date: Date | None = None,
        expires_at: datetime | None = None,
        external_id: str | None = None,
        if_similar: str | None = None,
        wait: float | None = None,
        idempotency_key: str | None = None,
        user_id: str | None = None,
        project_id: str | None = None,
    ) -> Memory:
        """Store a memory; it is durable when this returns.

        `external_id`: your own key. A memory that has it is replaced. `if_similar`: where a similar memory exists,
        "skip" stores nothing and returns that one, and "link" stores the new one and names the other in `similar_to`.
        `wait`: hold the answer until search finds the memory, for so many seconds at most (30). `idempotency_key`: give
        one to make a retry of your own safe, too.
        """
        tenant = self._of(user_id, project_id)
        fields = calls.given(task=task, agent=agent, raw_data=raw_data, date=date, expires_at=expires_at)
        if external_id is not None:
            return await self._send(calls.remember_as(tenant, external_id, fields, wait=wait))
        return await self._send(
            calls.remember(tenant, fields, wait=wait, key=idempotency_key, if_similar=if_similar)
        )

    async def remember_many(
        self,
        memories: Iterable[Mapping[str, Any]],
        *,
        wait: float | None = None,
        user_id: str | None = None,
        project_id: str | None = None,
    ) -> list[int]:
        """Store many memories, in batches of 500; returns their ids in order. A batch is stored whole or not at all."""
        ids: list[int] = []
        remaining = iter(calls.with_tenant(memories, self._of(user_id, project_id)))
        while batch := list(islice(remaining, BATCH)):
            call = calls.remember_many(batch, wait=wait, key=uuid4().hex)
            stored = await self._send(call)
            ids += stored
        return ids

    async def search(
        self,
        query: str,
        *,
        limit: int = 10,
        min_similarity: float | None = None,
        mode: str | None = None,
        task: str | None = None,
        agent: str | None = None,
        date_from: Date | None = None,
        date_to: Date | None = None,
        tags: Sequence[str] | None = None,
        raw_data: Mapping[str, Any] | None = None,
        filter: Mapping[str, Any] | None = None,
        explain: bool = False,
        all_projects: bool = False,
        user_id: str | None = None,
        project_id: str | None = None,
    ) -> list[Hit]:
        """The memories that answer the question, best first. `mode`: hybrid (default), vector or lexical.

        `filter`: conditions with and, or, not and operators. `explain`: each hit tells its places in both rankings.
        `all_projects`: search all projects of the user.
        """
        body = calls.given(
            query=query,
            limit=limit,
            min_similarity=min_similarity,
            mode=mode,
            task=task,
            agent=agent,
            date_from=date_from,
            date_to=date_to,
            tags=tags and list(tags),
            raw_data=raw_data,
            filter=filter,
        )
        tenant = self._of(user_id, project_id)
        if all_projects:
            tenant.pop("project_id", None)
        return await self._send(calls.search(tenant, body, explain=explain))

    async def search_many(
        self,
        searches: Iterable[Mapping[str, Any]],
        *,
        user_id: str | None = None,
        project_id: str | None = None,
    ) -> list[list[Hit] | SemantixError]:
        """The answers to many questions, 32 in a request, in their order: hits, or why a question has none.

        A search has the fields of `search` as the API takes them: query, limit, mode, filter, project_id, …
        """
        answers: list[list[Hit] | SemantixError] = []
        remaining = iter(calls.with_tenant(searches, self._of(user_id, project_id)))
        while batch := list(islice(remaining, SEARCHES)):
            found = await self._send(calls.search_many(batch))
            answers += found
        return answers

    async def similar(
        self,
        memory_id: int,
        *,
        limit: int = 10,
        min_similarity: float | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> list[Hit]:
        """The memories of the same project whose meaning is nearest to this one. Raises NotFound."""
        params = calls.given(limit=limit, min_similarity=min_similarity, filter=filter)
        return await self._send(calls.similar(memory_id, calls.query(params)))

    async def count(
        self, *, user_id: str | None = None, project_id: str | None = None, **filters: Any
    ) -> int:
        """How many memories match. `filters`: task, agent, date_from, date_to, tags, filter."""
        params = {**self._of(user_id, project_id), **calls.given(**filters)}
        return await self._send(calls.count(calls.query(params)))

    async def tenants(self) -> AsyncIterator[TenantTotal]:
        """The projects that the key opens and that have memories, with their numbers of memories."""
        params: dict[str, Any] = {"page_size": 100}
        while True:
            page = await self._send(calls.tenants(params))
            for body in page["results"]:
                yield TenantTotal(**body)
            if not page["next"]:
                return
            params = dict(httpx.URL(page["next"]).params)

    async def get(self, memory_id: int, *, embedding: bool = False) -> Memory:
        """A memory by its id. Raises NotFound."""
        return await self._send(calls.get(memory_id, embedding=embedding))

    async def get_external(
        self, external_id: str, *, user_id: str | None = None, project_id: str | None = None
    ) -> Memory:
        """A memory by your own key. Raises NotFound."""
        return await self._send(calls.get_external(self._of(user_id, project_id), external_id))

    async def update(
        self,
        memory_id: int,
        change: Callable[[Memory], Mapping[str, Any]] | None = None,
        *,
        wait: float | None = None,
        **fields: Any,
    ) -> Memory:
        """Change a memory without losing what others change meanwhile.

        Either `fields` (task, agent, date, raw_data, expires_at), or `change`: it gets the memory as it is and returns
        the fields to set. It is called again when somebody else was faster. Raises NotFound, PreconditionFailed.
        """
        memory = await self.get(memory_id)
        for lost in range(UPDATES):
            wanted = calls.given_as_is(change(memory) if change else fields)
            call = calls.change(memory_id, wanted, version=memory.version, wait=wait)
            try:
                return await self._send(call)
            except PreconditionFailed as error:
                overtaken = error
            await asyncio.sleep(pause_of_overtaken(lost))
            before, memory = memory, await self.get(memory_id)
            # The answer to our own change was lost, and the retry of it found the version that it had made.
            is_next = memory.version == before.version + 1
            if overtaken.uncertain and is_next and calls.is_applied(wanted, memory):
                return memory
        raise overtaken

    async def forget(self, memory_id: int) -> None:
        """Delete a memory. Raises NotFound."""
        await self._send(calls.forget(memory_id))

    async def forget_external(
        self, external_id: str, *, user_id: str | None = None, project_id: str | None = None
    ) -> None:
        """Delete a memory by your own key. Raises NotFound."""
        await self._send(calls.forget_external(self._of(user_id, project_id), external_id))

    async def recent(
        self, limit: int = 10, *, user_id: str | None = None, project_id: str | None = None, **filters: Any
    ) -> list[Memory]:
        """The newest memories. `filters`: task, agent, date_from, date_to, tags, filter, sync_status."""
        params = {**self._of(user_id, project_id), **calls.given(**filters), "page_size": limit}
        page = await self._send(calls.page(calls.query(params)))
        return [Memory.of(body) for body in page["results"]]

    async def memories(
        self, *, user_id: str | None = None, project_id: str | None = None, **filters: Any
    ) -> AsyncIterator[Memory]:
        """All memories, newest first, page by page. `filters`: those of `recent`."""
        params = calls.query({**self._of(user_id, project_id), **calls.given(**filters), "page_size": 500})
        while True:
            page = await self._send(calls.page(params))
            for body in page["results"]:
                yield Memory.of(body)
            if not page["next"]:
                return
            params = dict(httpx.URL(page["next"]).params)

    def conversation(
        self, conversation_id: str, *, user_id: str | None = None, project_id: str | None = None
    ) -> "AsyncConversation":
        """A conversation to add turns to. It begins with its first turn."""
        return AsyncConversation(self, conversation_id, self._of(user_id, project_id))

    async def events(
        self,
        *,
        last_id: str | None = None,
        types: Sequence[str] = (),
        user_id: str | None = None,
        project_id: str | None = None,
    ) -> AsyncIterator[Event]:
        """What happens to memories, as it happens; without end.

        A stream that breaks is resumed where it was, so that nothing is missed. `last_id`: resume after this event.
        An event `stream.reset`, which comes whatever `types` says, tells that the server was restored from a backup:
        read again what you keep of its memories.
        """
        parser = EventParser(last_id)
        params = self._of(user_id, project_id)
        while True:
            attempts = Attempts(self._patience, repeatable=True)
            async for event in self._stream(parser, params, attempts):
                if not types or event.type in (*types, "stream.reset"):
                    yield event

    async def _stream(
        self, parser: EventParser, params: Mapping[str, str], attempts: Attempts
    ) -> AsyncIterator[Event]:
        """One connection; ends when it breaks, after a pause."""
        headers = self._headers | ({"Last-Event-ID": parser.last_id} if parser.last_id else {})
        try:
            async with self._http.stream(
                "GET", f"{self.url}/memory-logs/events", params=params, headers=headers, timeout=60.0
            ) as response:
                if response.is_error:
                    await response.aread()
                    await asyncio.sleep(attempts.after_response(response))
                    return
                async for line in response.aiter_lines():
                    if event := parser.feed(line):
                        yield event
        except httpx.TransportError as failure:
            await asyncio.sleep(attempts.after_failure(failure, self.url))

    async def erase(
        self,
        *,
        memory_ids: Sequence[int] | None = None,
        conversation_ids: Sequence[str] | None = None,
        wait: float = 60.0,
        user_id: str | None = None,
        project_id: str | None = None,
    ) -> Erasure:
        """Forget everything of the user (or project), or only these memories and conversations, in every store.

        Waits up to `wait` seconds until it is verified, and returns the receipt as it is then.
        """
        named = calls.given(
            memory_log_ids=memory_ids and list(memory_ids),
            conversation_ids=conversation_ids and list(conversation_ids),
        )
        erasure = await self._send(calls.erase(self._of(user_id, project_id) | named))
        deadline = time.monotonic() + wait
        while not erasure.is_over and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
            erasure = await self._send(calls.receipt(erasure.id))
        return erasure

    async def export(
        self, *, include: Sequence[str] = (), user_id: str | None = None, project_id: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """All memories, one by one, as the API answers them. `include`: versions, embeddings, conversations."""
        params: dict[str, Any] = self._of(user_id, project_id)
        if include:
            params["include"] = ",".join(include)
        while True:
            page = await self._send(calls.export(params))
            for line in page.iter_lines():
                yield json.loads(line)
            if "next" not in page.links:
                return
            params = dict(httpx.URL(page.links["next"]["url"]).params)

    def _of(self, user_id: str | None, project_id: str | None) -> dict[str, str]:
        return self._tenant | calls.given(user_id=user_id, project_id=project_id)

    async def _send(self, call: Call[T]) -> T:
        attempts = Attempts(self._patience, repeatable=call.repeatable)
        while True:
            try:
                response = await self._http.request(
                    call.method,
                    self.url + call.path,
                    params=dict(call.params),
                    json=call.json,
                    headers={**self._headers, **call.headers},
                    timeout=self._timeout + call.wait,
                )
            except httpx.TransportError as failure:
                pause = attempts.after_failure(failure, self.url)
            else:
                if response.is_success:
                    return call.parse(response)
                pause = attempts.after_response(response)
            await asyncio.sleep(pause)


class AsyncConversation:
    """A conversation; see `AsyncSemantix.conversation`."""

    def __init__(self, client: AsyncSemantix, conversation_id: str, tenant: dict[str, str]) -> None:
        self.id = conversation_id
        self._client, self._tenant = client, tenant

    async def add(self, role: str | None = None, content: Any = None, **more: Any) -> Turns:
        """Add a turn. `more` (tool_calls, name, …) is kept to the letter."""
        turn = {**calls.given(role=role), "content": content, **more}
        return await self.add_many([turn])

    async def add_many(self, turns: Iterable[Mapping[str, Any]]) -> Turns:
        """Add turns in the shapes that agents send; they are numbered without a gap."""
        call = calls.say(self._tenant, self.id, [dict(turn) for turn in turns], key=uuid4().hex)
        return await self._client._send(call)  # noqa: SLF001

    async def turns(self, after: int = 0) -> list[dict[str, Any]]:
        """The turns with a number above `after`, saved or waiting."""
        told = await self._client._send(calls.transcript(self._tenant, self.id, after))  # noqa: SLF001
        return list(told["turns"])

    async def save(self) -> None:
        """Save the waiting turns as memories now. Else the service does so when the conversation is idle."""
        await self._client._send(calls.save(self._tenant, self.id))  # noqa: SLF001
