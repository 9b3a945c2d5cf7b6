"""The fenced code blocks of the Markdown pages.

A block is run, or the line above it says why not: `<!-- not run: it takes minutes -->`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

from tests.support.paths import ROOT

SHELLS = ("console", "sh", "bash")
# Read by people, or by programs that are not part of this project.
PROSE = ("text", "mermaid", "sql", "ini", "toml", "yaml", "html")
MARK = re.compile(r"<!-- not run: (?P<reason>.+?) -->\s*$", re.DOTALL)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    not_run: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_shell(self) -> bool:
        return self.language in SHELLS


def pages() -> list[Path]:
    """The tutorial first: it begins with a service that has stored nothing."""
    every = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(every, key=lambda page: ("tutorial" not in page.parts, page))


@cache
def blocks_of(page: Path) -> tuple[Block, ...]:
    return tuple(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    tokens = MarkdownIt().parse(page.read_text())
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "fence" and token.map:
            mark = MARK.search(before.content) if before and before.type == "html_block" else None
            yield Block(
                page=page,
                line=token.map[0] + 1,
                language=token.info.split(maxsplit=1)[0] if token.info else "",
                text=token.content,
                not_run=mark["reason"] if mark else "",
            )


def fault(block: Block, before: Block | None) -> str:
    """Why a block is neither run nor marked, and what to do; empty where nothing is wrong."""
    if block.not_run or block.is_shell or block.language in (*PROSE, "python"):
        return ""
    if block.language == "json":
        follows = before is not None and before.is_shell and not before.not_run
        advice = "Put it below the console block that it answers, or mark it <!-- not run: reason -->."
        return "" if follows else f"{block.place}: nothing shows what answers this JSON. {advice}"
    if not block.language:
        return f"{block.place}: the block names no language. Name one; `text` is for what is not run."
    return f"{block.place}: nothing here runs {block.language}. Mark it <!-- not run: reason -->."
