"""The versions of a memory on its page: what each one changed, line by line."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from itertools import islice, pairwise
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from memories.models import MemoryVersion
from memories.records.queries import versions

# What one page shows at most. A memory of 1 MB with thousands of versions must open like any other.
SHOWN = 20
COMPARED_BYTES = 64_000
COMPARED_LINES = 1_000
DIFF_LINES = 200
LINE = 400

COLOURS = {"+": "#15803d", "-": "#b91c1c"}


@dataclass(frozen=True)
class Change:
    """One version. `lines` are the lines of the diff to the version before, each with its colour."""

    version: MemoryVersion
    lines: Sequence[tuple[str, str]]
    note: str = ""


def rendered(memory_id: int) -> SafeString:
    """The newest versions, newest first, each with its difference to the one before."""
    found = list(versions(memory_id).defer("raw_data", "task").order_by("-pgh_id")[: SHOWN + 1])
    context = {
        "changes": list(_changes(found)),
        "limit": SHOWN if len(found) > SHOWN else 0,
        "memory_id": memory_id,
    }
    return SafeString(render_to_string("admin/memories/versions.html", context))


def _changes(found: Sequence[MemoryVersion]) -> Iterator[Change]:
    small = [row.pgh_id for row in found if row.content_bytes <= COMPARED_BYTES]
    texts = {row.pgh_id: _text(row) for row in MemoryVersion.objects.filter(pgh_id__in=small)}
    pairs: list[tuple[MemoryVersion, MemoryVersion | None]] = list(pairwise(found))
    if 0 < len(found) <= SHOWN:
        pairs.append((found[-1], None))
    for row, before in pairs:
        yield _change(row, before, texts)


def _change(row: MemoryVersion, before: MemoryVersion | None, texts: dict[int, list[str]]) -> Change:
    if before is None or row.pgh_label == "deleted":
        return Change(row, ())
    new, old = texts.get(row.pgh_id), texts.get(before.pgh_id)
    if new is None or old is None:
        return Change(row, (), f"The versions are too large to compare here ({row.content_bytes:,} bytes).")
    lines = list(islice(unified_diff(old, new, lineterm="", n=1), 2, DIFF_LINES + 3))
    note = "" if len(lines) <= DIFF_LINES else f"These are the first {DIFF_LINES} lines of the difference."
    shown = [(line[:LINE], COLOURS.get(line[:1], "")) for line in lines[:DIFF_LINES] if line[:2] != "@@"]
    return Change(row, shown, note or ("" if lines else "Its content is the same as before."))


def _text(row: MemoryVersion) -> list[str]:
    state: dict[str, Any] = {
        name: getattr(row, name) for name in ("task", "agent", "external_id", "raw_data")
    }
    state["date"] = row.date.isoformat()
    return json.dumps(state, indent=1, ensure_ascii=False, sort_keys=True).splitlines()[:COMPARED_LINES]
