"""A store for LangGraph: `BaseStore` over memories.

    store = SemantixStore(Semantix(url, api_key))
    graph = builder.compile(store=store)

An item is a memory of the agent `langgraph`: its external id is made of namespace and key, its value stands in
raw_data. So items are durable, searched by meaning, shown in the admin and erased like all else. The service filters by
namespace and by values that must be equal; comparisons (`$gt`) are made here, page by page.

An item with a ttl lives so many minutes after it was put or, with `refresh_on_read` (LangGraph's default), read. A read
writes the new time only when a tenth of the ttl is over, and that is a change of the memory like any other.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from itertools import chain, islice
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from semantix_client.client import Semantix
from semantix_client.errors import NotFound
from semantix_client.models import Memory

AGENT = "langgraph"
# What one search of the service answers at most.
MOST_HITS = 100
# Conditions that a filter takes (one with two values counts twice), and characters of a string in it.
MOST_CONDITIONS, MOST_CHARACTERS = 16, 10_000
# Larger numbers may lose digits on their way.
MOST_NUMBER = 2**53
# A read extends the life of an item that has less than this part of its ttl before it.
FRESH = 0.9

Namespace = tuple[str, ...]
# An item, and its score where a query was asked.
Found = tuple[Memory, float | None]


class SemantixStore(BaseStore):
    """A store for LangGraph.

    `wait`: seconds for which a put waits until search finds the item (0: it does not). `ttl`: LangGraph's defaults for
    items, {"default_ttl": minutes, "refresh_on_read": bool}.
    """

    supports_ttl = True

    def __init__(self, client: Semantix, *, wait: float = 0.0, ttl: TTLConfig | None = None) -> None:
        self._client, self._wait, self.ttl_config = client, wait, ttl

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Reads come before writes, and of two writes of one key the last counts, as in LangGraph's own stores."""
        results: list[Result] = []
        puts: dict[tuple[Namespace, str], PutOp] = {}
        for op in ops:
            match op:
                case PutOp():
                    puts[op.namespace, op.key] = op
                    results.append(None)
                case GetOp():
                    results.append(self._get(op))
                case SearchOp():
                    results.append(self._search(op))
                case ListNamespacesOp():
                    results.append(self._list_namespaces(op))
        for op in puts.values():
            self._put(op)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """The same, on a thread."""
        import asyncio

        return await asyncio.to_thread(self.batch, list(ops))

    def _put(self, op: PutOp) -> None:
        external_id = _external_id(op.namespace, op.key)
        if op.value is None:
            try:
                self._client.forget_external(external_id)
            except NotFound:
                return
            return
        levels = {_level(place): label for place, label in enumerate(op.namespace)}
        ttl = {} if op.ttl is None else {"ttl": op.ttl}
        self._client.remember(
            task=f"{'/'.join(op.namespace)}: {op.key}",
            agent=AGENT,
            raw_data={
                **levels,
                **ttl,
                "namespace": list(op.namespace),
                "key": op.key,
                "value": dict(op.value),
            },
            expires_at=None if op.ttl is None else datetime.now(timezone.utc) + timedelta(minutes=op.ttl),
            external_id=external_id,
            wait=self._wait or None,
        )

    def _get(self, op: GetOp) -> Item | None:
        try:
            memory = self._client.get_external(_external_id(op.namespace, op.key))
        except NotFound:
            return None
        if op.refresh_ttl:
            self._refresh(memory)
        return Item(**_fields(memory))

    def _refresh(self, memory: Memory) -> None:
        """Extend the life of an item that was read."""
        if memory.expires_at is None or not (minutes := memory.raw_data.get("ttl")):
            return
        now, life = datetime.now(timezone.utc), timedelta(minutes=minutes)
        if memory.expires_at - now < FRESH * life:
            with suppress(NotFound):  # it has ended, or was deleted, meanwhile
                self._client.update(memory.id, expires_at=now + life)

    def _search(self, op: SearchOp) -> list[SearchItem]:
        prefix = tuple(op.namespace_prefix)
        found = self._by_meaning(op, prefix) if op.query else self._listed(op, prefix)
        matching = (
            each
            for each in found
            if tuple(each[0].raw_data["namespace"][: len(prefix)]) == prefix
            and _matches(each[0].raw_data["value"], op.filter or {})
        )
        chosen = list(islice(matching, op.offset, op.offset + op.limit))
        if op.refresh_ttl:
            for memory, _score in chosen:
                self._refresh(memory)
        return [SearchItem(**_fields(memory), score=score) for memory, score in chosen]

    def _by_meaning(self, op: SearchOp, prefix: Namespace) -> Iterator[Found]:
        limit = MOST_HITS if op.filter else min(MOST_HITS, op.offset + op.limit)
        wanted = _filter(prefix, op.filter or {})
        hits = self._client.search(op.query or "", limit=limit, agent=AGENT, filter=wanted)
        return ((hit.memory, hit.score) for hit in hits if hit.memory)

    def _listed(self, op: SearchOp, prefix: Namespace) -> Iterator[Found]:
        wanted = _filter(prefix, op.filter or {})
        narrowed: dict[str, Any] = {} if wanted is None else {"filter": wanted}
        for memory in self._client.memories(agent=AGENT, **narrowed):
            yield memory, None

    def _list_namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        found = {tuple(memory.raw_data["namespace"]) for memory in self._client.memories(agent=AGENT)}
        chosen = {
            namespace[: op.max_depth] if op.max_depth is not None else namespace
            for namespace in found
            if all(_meets(condition, namespace) for condition in op.match_conditions or ())
        }
        return sorted(chosen)[op.offset : op.offset + op.limit]


def _external_id(namespace: Namespace, key: str) -> str:
    """The same for the same item, and for no other."""
    return f"langgraph:{hashlib.sha256(json.dumps([*namespace, key]).encode()).hexdigest()}"


def _level(place: int) -> str:
    return f"namespace_{place}"


def _fields(memory: Memory) -> dict[str, Any]:
    return {
        "namespace": tuple(memory.raw_data["namespace"]),
        "key": memory.raw_data["key"],
        "value": memory.raw_data["value"],
        "created_at": memory.created_at,
        "updated_at": memory.updated_at,
    }


def _meets(condition: MatchCondition, namespace: Namespace) -> bool:
    path = tuple(condition.path)
    part = (
        namespace[: len(path)]
        if condition.match_type == "prefix"
        else namespace[len(namespace) - len(path) :]
    )
    return len(namespace) >= len(path) and all(
        wanted in ("*", label) for wanted, label in zip(path, part, strict=True)
    )


OPERATORS = {
    "$eq": lambda value, wanted: value == wanted,
    "$ne": lambda value, wanted: value != wanted,
    "$gt": lambda value, wanted: value > wanted,
    "$gte": lambda value, wanted: value >= wanted,
    "$lt": lambda value, wanted: value < wanted,
    "$lte": lambda value, wanted: value <= wanted,
}


def _filter(prefix: Namespace, filter: Mapping[str, Any]) -> dict[str, Any] | None:
    """The filter of the service that every item meets which is asked for; None without a condition."""
    levels = ({f"raw_data.{_level(place)}": label} for place, label in enumerate(prefix))
    parts = list(islice(chain(levels, _equalities("raw_data.value", filter)), MOST_CONDITIONS))
    return {"and": parts} if parts else None


def _equalities(path: str, wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, value in wanted.items():
        if key and not key.startswith("$"):
            escaped = key.replace("\\", "\\\\").replace(".", "\\.")
            if isinstance(value, Mapping):
                yield from _equalities(f"{path}.{escaped}", value)
            elif isinstance(value, str) and len(value) <= MOST_CHARACTERS:
                yield {f"{path}.{escaped}": value}
            # Python takes 1 and True for equal.
            elif isinstance(value, (bool, int)) and value in (0, 1):
                yield {f"{path}.{escaped}": {"in": [bool(value), int(value)]}}
            elif isinstance(value, (int, float)) and abs(value) < MOST_NUMBER:
                yield {f"{path}.{escaped}": value}


def _matches(value: Any, wanted: Any) -> bool:
    """Whether the value has what the filter asks for: the same, a comparison, or the same in each key of an object."""
    if isinstance(wanted, Mapping) and any(name.startswith("$") for name in wanted):
        return all(_compares(value, name, operand) for name, operand in wanted.items())
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(_matches(value.get(k), w) for k, w in wanted.items())
    return bool(value == wanted)


def _compares(value: Any, operator: str, operand: Any) -> bool:
    if operator not in OPERATORS:
        raise ValueError(f"Unknown operator {operator}; there are {', '.join(OPERATORS)}.")
    try:
        return bool(OPERATORS[operator](value, operand))
    except TypeError:
        return False
