"""The requests of the API as data, shared by the synchronous and the asynchronous client."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date as Date
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx

from semantix_client.errors import SemantixError, error_of_problem
from semantix_client.models import Erasure, Hit, Memory, Turns

T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read. `repeatable`: sent twice it does the same as sent once."""

    method: str
    path: str
    parse: Callable[[httpx.Response], T]
    json: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    # Seconds that the service may hold the answer.
    wait: float = 0.0


def _memory(response: httpx.Response) -> Memory:
    return Memory.of(response.json())


def _hits(response: httpx.Response) -> list[Hit]:
    return [Hit.of(body) for body in response.json()]


def _nothing(_response: httpx.Response) -> None:
    return None


def _json(response: httpx.Response) -> Any:
    return response.json()


def plain(value: Any) -> Any:
    """A value as JSON carries it: dates and times become ISO 8601."""
    return value.isoformat() if isinstance(value, (Date, datetime)) else value


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: plain(value) for name, value in fields.items() if value is not None}


def given_as_is(fields: Mapping[str, Any]) -> dict[str, Any]:
    """All fields, None included: it takes an expiry away."""
    return {name: plain(value) for name, value in fields.items()}


def is_applied(fields: Mapping[str, Any], memory: Memory) -> bool:
    """Whether the memory has these values."""
    return all(plain(getattr(memory, name)) == value for name, value in fields.items())


def remember(
    tenant: Mapping[str, str],
    fields: Mapping[str, Any],
    *,
    wait: float | None,
    key: str | None,
    if_similar: str | None,
) -> Call[Memory]:
    headers = {"Idempotency-Key": key or uuid4().hex, **_prefer(wait)}
    body, params = {**tenant, **fields}, given(if_similar=if_similar)
    return Call("POST", "/memory-logs", _memory, body, params, headers=headers, wait=wait or 0.0)


def remember_as(
    tenant: Mapping[str, str], external_id: str, fields: Mapping[str, Any], *, wait: float | None
) -> Call[Memory]:
    path = f"/memory-logs/external/{quote(external_id, safe='')}"
    return Call("PUT", path, _memory, {**tenant, **fields}, headers=_prefer(wait), wait=wait or 0.0)


def remember_many(memories: list[dict[str, Any]], *, wait: float | None, key: str) -> Call[list[int]]:
    headers = {"Idempotency-Key": key, **_prefer(wait)}
    return Call(
        "POST",
        "/memory-logs/batch",
        lambda r: list(r.json()["ids"]),
        memories,
        headers=headers,
        wait=wait or 0.0,
    )


def get(memory_id: int, *, embedding: bool) -> Call[Memory]:
    return Call(
        "GET", f"/memory-logs/{memory_id}", _memory, params={"include": "embedding"} if embedding else {}
    )


def get_external(tenant: Mapping[str, str], external_id: str) -> Call[Memory]:
    return Call("GET", f"/memory-logs/external/{quote(external_id, safe='')}", _memory, params=tenant)


def change(memory_id: int, fields: Mapping[str, Any], *, version: int, wait: float | None) -> Call[Memory]:
    # If-Match makes it repeatable: a second arrival finds another version. The caller tells the two apart.
    headers = {"If-Match": f'"{version}"', **_prefer(wait)}
    return Call(
        "PATCH", f"/memory-logs/{memory_id}", _memory, dict(fields), headers=headers, wait=wait or 0.0
    )


def forget(memory_id: int) -> Call[None]:
    return Call("DELETE", f"/memory-logs/{memory_id}", _nothing)


def forget_external(tenant: Mapping[str, str], external_id: str) -> Call[None]:
    return Call("DELETE", f"/memory-logs/external/{quote(external_id, safe='')}", _nothing, params=tenant)


def page(params: Mapping[str, Any]) -> Call[dict[str, Any]]:
    return Call("GET", "/memory-logs", _json, params=params)


def search(tenant: Mapping[str, str], body: Mapping[str, Any], *, explain: bool) -> Call[list[Hit]]:
    include = ["memory", "explain"] if explain else ["memory"]
    return Call("POST", "/memory-logs/search", _hits, {**tenant, **body, "include": include})


def search_many(searches: list[dict[str, Any]]) -> Call[list["list[Hit] | SemantixError"]]:
    bodies = [{"include": ["memory"], **search} for search in searches]
    return Call("POST", "/memory-logs/search/batch", _answers, bodies)


def _answers(response: httpx.Response) -> list["list[Hit] | SemantixError"]:
    return [
        error_of_problem(answer["problem"])
        if "problem" in answer
        else [Hit.of(body) for body in answer["results"]]
        for answer in response.json()["answers"]
    ]


def similar(memory_id: int, params: Mapping[str, Any]) -> Call[list[Hit]]:
    return Call("GET", f"/memory-logs/{memory_id}/similar", _hits, params={**params, "include": "memory"})


def count(params: Mapping[str, Any]) -> Call[int]:
    return Call("GET", "/memory-logs/count", lambda r: int(r.json()["count"]), params=params)


def tenants(params: Mapping[str, Any]) -> Call[dict[str, Any]]:
    return Call("GET", "/tenants", _json, params=params)


def query(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as a URL carries them: a filter is JSON."""
    return {name: json.dumps(value) if name == "filter" else value for name, value in params.items()}


def say(
    tenant: Mapping[str, str], conversation_id: str, turns: list[dict[str, Any]], *, key: str
) -> Call[Turns]:
    path = f"/conversations/{quote(conversation_id, safe='')}/turns"
    return Call("POST", path, _turns, {**tenant, "turns": turns}, headers={"Idempotency-Key": key})


def _turns(response: httpx.Response) -> Turns:
    body = response.json()
    return Turns(first=body["turns"][0]["seq"], count=len(body["turns"]))


def transcript(tenant: Mapping[str, str], conversation_id: str, after: int) -> Call[dict[str, Any]]:
    path = f"/conversations/{quote(conversation_id, safe='')}"
    return Call("GET", path, _json, params={**tenant, "after": after})


def save(tenant: Mapping[str, str], conversation_id: str) -> Call[dict[str, Any]]:
    return Call("POST", f"/conversations/{quote(conversation_id, safe='')}/close", _json, dict(tenant))


def erase(body: Mapping[str, Any]) -> Call[Erasure]:
    # Two receipts of the same erasure do no harm.
    return Call("POST", "/erasures", lambda r: Erasure.of(r.json()), dict(body))


def receipt(erasure_id: int) -> Call[Erasure]:
    return Call("GET", f"/erasures/{erasure_id}", lambda r: Erasure.of(r.json()))


def export(params: Mapping[str, Any]) -> Call[httpx.Response]:
    return Call("GET", "/exports", lambda response: response, params=params)


def _prefer(wait: float | None) -> dict[str, str]:
    return {"Prefer": f"wait={int(wait)}"} if wait else {}


def with_tenant(memories: Iterable[Mapping[str, Any]], tenant: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each memory as the API takes it; what it says of its tenant counts more."""
    return [{**tenant, **{name: plain(value) for name, value in memory.items()}} for memory in memories]
