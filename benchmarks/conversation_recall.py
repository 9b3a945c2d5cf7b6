"""How much of what answers a question is in saved conversations. Needs --data.

`--data` as for `retrieval`. Each line of memories.jsonl is posted as a turn of the conversation that its task names,
with its agent as the role; `relevant_turns` of queries.jsonl name `raw_data.turn`. Everything goes over REST, except
the flush, which is the command. A turn is found if one of the first memories holds it. `recall_in_8000_characters`
takes as many of the first memories as fit into that much text.
"""

from argparse import Namespace
from collections.abc import Iterable, Mapping
from itertools import accumulate, groupby
from typing import Any

import httpx

from benchmarks.__main__ import Figures
from benchmarks.conversations import flush
from benchmarks.retrieval import Lines, read
from benchmarks.service import cluster, say, stores, until_indexed, web

USER = "chats"
DEPTHS = (1, 3, 5, 10)
CHARACTERS = 8000
MODES = ("hybrid", "vector", "lexical")


def run(options: Namespace) -> Figures:
    if options.data is None:
        raise SystemExit("conversation_recall needs --data FOLDER, with memories.jsonl and queries.jsonl")
    turns, queries = read(options.data / "memories.jsonl"), read(options.data / "queries.jsonl")
    with stores(), cluster(), web() as url, httpx.Client(base_url=url, timeout=60) as client:
        from memories.models import MemoryLog

        say(f"{len(turns)} turns ...")
        post(client, turns)
        flush()
        until_indexed()
        queries = queries[:: 5 if options.quick else 1]
        say(f"{len(queries)} questions ...")
        say(f"... of {MemoryLog.objects.count()} memories")
        return {mode: recall(client, queries, mode) for mode in MODES}


def post(client: httpx.Client, lines: Lines) -> None:
    """Post the turns of each conversation in order, ten in a request."""
    for (project_id, conversation), its in groupby(
        lines, key=lambda line: (line["project_id"], line["task"])
    ):
        turns = [turn_of(line) for line in its]
        for start in range(0, len(turns), 10):
            body = {"user_id": USER, "project_id": project_id, "turns": turns[start : start + 10]}
            client.post(f"/conversations/{conversation}/turns", json=body).raise_for_status()


def turn_of(line: Mapping[str, Any]) -> dict[str, Any]:
    said = dict(line["raw_data"])
    return {"role": line["agent"], "content": said.pop("summary"), **said}


def recall(client: httpx.Client, queries: Lines, mode: str) -> Mapping[str, float]:
    """The share of relevant turns that the first memories hold, as the mean of all questions."""
    found = [SearchHit(client, line, mode) for line in queries]
    figures = {f"recall_at_{depth}": mean(one.share(one.parts[:depth]) for one in found) for depth in DEPTHS}
    return figures | {f"recall_in_{CHARACTERS}_characters": mean(one.share(one.fitting()) for one in found)}


def mean(shares: Iterable[float]) -> float:
    known = list(shares)
    return round(sum(known) / len(known), 3)


# The ids of the turns in a memory, and the length of its text.
Part = tuple[frozenset[str], int]


class SearchHit:
    """The memories that one question found, best first."""

    def __init__(self, client: httpx.Client, line: Mapping[str, Any], mode: str) -> None:
        asked = {"query": line["query"], "user_id": USER, "project_id": line["project_id"]}
        answer = client.post("/memory-logs/search", json={**asked, "mode": mode, "limit": max(DEPTHS)})
        hits = answer.raise_for_status().json()
        self.relevant = set(line["relevant_turns"])
        self.parts: list[Part] = [
            (turns_of(client, hit["memory_log_id"]), len(hit["document"])) for hit in hits
        ]

    def share(self, parts: Iterable[Part]) -> float:
        held = {turn for turns, _ in parts for turn in turns}
        return len(self.relevant & held) / len(self.relevant)

    def fitting(self) -> list[Part]:
        lengths = accumulate(length for _, length in self.parts)
        return [part for part, so_far in zip(self.parts, lengths, strict=True) if so_far <= CHARACTERS]


def turns_of(client: httpx.Client, memory_id: int) -> frozenset[str]:
    memory = client.get(f"/memory-logs/{memory_id}").raise_for_status().json()
    return frozenset(turn["turn"] for turn in memory["raw_data"]["turns"])
