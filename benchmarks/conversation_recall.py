"""Chats posted as conversations, saved, and asked about: how much of what answers a question is in what is found.

`--data` as for `retrieval`: each line of memories.jsonl is posted as a turn of the conversation that its task names,
by its agent; `relevant_turns` of queries.jsonl name `raw_data.turn`. Everything goes over REST, but for the flush,
which is the command. A turn is found when one of the first memories holds it; `recall_in_8000_characters` counts as
many of the first memories as fit into so much text, whatever their number.
"""

import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import httpx

from benchmarks.__main__ import Figures
from benchmarks.retrieval import Lines, read
from benchmarks.service import ROOT, cluster, say, stores, until_indexed, web

USER = "chats"
DEPTHS = (1, 3, 5, 10)
CHARACTERS = 8000
MODES = ("hybrid", "vector", "lexical")


def run(options: Namespace) -> Figures:
    if options.data is None:
        raise SystemExit("conversation_recall needs --data FOLDER, with memories.jsonl and queries.jsonl")
    turns, queries = read(options.data / "memories.jsonl"), read(options.data / "queries.jsonl")
    with stores(), cluster(), web() as url, httpx.Client(base_url=url, timeout=60) as client:
        say(f"{len(turns)} turns ...")
        post(client, turns)
        flush = [sys.executable, "manage.py", "flush_conversations", "--idle-minutes", "0"]
        subprocess.run(flush, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        until_indexed()
        queries = queries[:: 5 if options.quick else 1]
        say(f"{len(queries)} questions ...")
        return {mode: recall(client, queries, mode) for mode in MODES}


def post(client: httpx.Client, lines: Lines) -> None:
    """Each conversation's turns in their order, ten a request."""
    for (project_id, conversation), its in groupby(lines, key=lambda line: (line["project_id"], line["task"])):
        turns = [turn_of(line) for line in its]
        for start in range(0, len(turns), 10):
            body = {"user_id": USER, "project_id": project_id, "turns": turns[start : start + 10]}
            client.post(f"/conversations/{conversation}/turns", json=body).raise_for_status()


def turn_of(line: Mapping[str, Any]) -> dict[str, Any]:
    said = dict(line["raw_data"])
    return {"role": line["agent"], "content": said.pop("summary"), **said}


def recall(client: httpx.Client, queries: Lines, mode: str) -> Mapping[str, float]:
    """The mean over the questions of the share of relevant turns that the first memories hold."""
    found = [Found(client, line, mode) for line in queries]
    figures = {f"recall_at_{depth}": mean(one.share(one.parts[:depth]) for one in found) for depth in DEPTHS}
    figures[f"recall_in_{CHARACTERS}_characters"] = mean(one.share(one.fitting()) for one in found)
    stored = client.get("/memory-logs", params={"user_id": USER, "agent": "conversation"}).json()
    return figures | {"memories": float(counted(client, stored))}


class Found:
    """What was found for one question: (ids of turns, length of the text) of each memory, best first."""

    def __init__(self, client: httpx.Client, line: Mapping[str, Any], mode: str) -> None:
        asked = {"query": line["query"], "user_id": USER, "project_id": line["project_id"]}
        answer = client.post("/memory-logs/search", json={**asked, "mode": mode, "limit": max(DEPTHS)})
        hits = answer.raise_for_status().json()
        self.relevant = set(line["relevant_turns"])
        self.parts = [(turns_in(client, hit["memory_log_id"]), len(hit["document"])) for hit in hits]

    def share(self, parts: list[tuple[frozenset[str], int]]) -> float:
        held = frozenset().union(*(turns for turns, _ in parts))
        return len(self.relevant & held) / len(self.relevant)

    def fitting(self) -> list[tuple[frozenset[str], int]]:
        sums = [sum(length for _, length in self.parts[: n + 1]) for n in range(len(self.parts))]
        return [part for part, total in zip(self.parts, sums, strict=True) if total <= CHARACTERS]
