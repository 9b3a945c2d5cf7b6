"""`load_memories FILE.jsonl`: store memories from a file, one JSON object a line."""

import json
from argparse import ArgumentParser, FileType
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import APIException
from tqdm import tqdm

from memories.api.errors import TooLarge
from memories.api.problems import problem_of
from memories.api.serializers.exported import parse_line
from memories.records import load
from memories.records.halves import Refused, write_in_halves
from memories.records.load import Line, Outcome
from outbox.counting import counted

# Lines, or bytes of lines, that one transaction stores.
BATCH_LINES = 500
BATCH_BYTES = 8 * 1024 * 1024


class Command(BaseCommand):
    help = (
        "Store memories from a file of JSON lines: as POST /memory-logs takes them, or as export_memories wrote them, "
        "with versions and embeddings. A file can be loaded again: what is stored is not stored twice. Lines that "
        "cannot be stored are reported and written to a file that can be mended and loaded."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=FileType("rb"), help="a path, or - for standard input")
        parser.add_argument(
            "--bad-lines",
            metavar="FILE",
            help="where to write bad lines; by default *.bad.jsonl next to the file",
        )
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, file: IO[bytes], **options: Any) -> None:
        """Exit code 1 when there is a bad line."""
        total = Outcome()
        with file, BadLines(_bad_path(file, options["bad_lines"])) as bad_lines:
            for batch in _batches(self._parsed(file, bad_lines)):
                total = _sum(total, self._load(batch, bad_lines))
        self._answer(total, bad_lines, as_json=options["json"])
        if bad_lines.count:
            raise CommandError(
                f"{counted(bad_lines.count, 'line')} not stored; see above{bad_lines.where()}.", returncode=1
            )

    def _load(self, batch: list["Parsed"], bad_lines: "BadLines") -> Outcome:
        """Store a batch, except for the lines that PostgreSQL refuses."""
        total = Outcome()
        for part in write_in_halves(lambda lines: load.load([each.line for each in lines]), batch):
            if isinstance(part, Refused):
                self.stderr.write(
                    f"line {part.item.number}: PostgreSQL refuses it: {str(part.error).strip()}"
                )
                bad_lines.add(part.item.text)
            else:
                total = _sum(total, part.result)
        return total

    def _parsed(self, file: IO[bytes], bad_lines: "BadLines") -> Iterator["Parsed"]:
        seen: Counter[bytes] = Counter()
        conversations = 0
        for number, line in enumerate(tqdm(_lines(file), unit=" lines", disable=None), start=1):
            if not line.strip():
                continue
            try:
                parsed = _parse(line)
            except APIException as error:
                self.stderr.write(f"line {number}: {problem_of(error)['detail']}")
                bad_lines.add(None if isinstance(error, TooLarge) else line)
                continue
            if parsed is None:
                conversations += 1
                continue
            content = load.content_of(parsed.fields)[:8]
            yield Parsed(number, line, Line(**vars(parsed) | {"equal_before": seen[content]}))
            seen[content] += 1
        if conversations:
            self.stderr.write(f"{counted(conversations, 'conversation')} skipped: saved turns are memories.")

    def _answer(self, total: Outcome, bad_lines: "BadLines", *, as_json: bool) -> None:
        if as_json:
            answer = {**total._asdict(), "bad": bad_lines.count, "bad_lines": bad_lines.written}
            self.stdout.write(json.dumps(answer))
            return
        self.stdout.write(
            f"{counted(total.stored, 'memory', 'memories')} stored, {counted(bad_lines.count, 'bad line')}."
        )
        if total.replaced or total.unchanged:
            self.stdout.write(f"Stored already: {total.replaced} replaced, {total.unchanged} unchanged.")


class Parsed(NamedTuple):
    """A line that can be stored: its number, from 1, the text of the file, and what it says."""

    number: int
    text: bytes
    line: Line


class BadLines:
    """The file of the lines that could not be stored. It is made for the first one."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.count = 0
        self._file: IO[bytes] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, line: bytes | None) -> None:
        """Count a bad line, and write it. None is one that was too large to read."""
        self.count += 1
        if line is not None:
            self._write(line)

    def _write(self, line: bytes) -> None:
        if self.path and self._file is None:
            try:
                self._file = self._stack.enter_context(self.path.open("wb"))
            except OSError as error:
                raise CommandError(f"Cannot write {self.path}: {error.strerror}") from error
        if self._file:
            self._file.write(line.rstrip(b"\r\n") + b"\n")

    @property
    def written(self) -> str | None:
        """The path, when a line was written."""
        return str(self.path) if self._file else None

    def where(self) -> str:
        return f", and mend them in {self.path}" if self._file else ""


def _bad_path(file: IO[bytes], named: str | None) -> Path | None:
    path = Path(file.name) if isinstance(file.name, str) else None
    if named:
        if path and path.resolve() == Path(named).resolve():
            raise CommandError(
                f"{named} is the file that is loaded. Name another for its bad lines.", returncode=2
            )
        return Path(named)
    return path.with_suffix(f".bad{path.suffix}") if path and path.is_file() else None


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of the file. Of a line above MAX_BODY_BYTES only its beginning is kept, and the rest is skipped."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + len(b"\n")
    while line := file.readline(limit + 1):
        yield line
        while len(line) > limit and not line.endswith(b"\n"):
            line = file.readline(limit + 1)


def _parse(line: bytes) -> Line | None:
    """The memory of a line; None for a conversation. Raises APIException."""
    if len(line.rstrip(b"\r\n")) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        raise TooLarge
    return parse_line(line)


def _sum(one: Outcome, other: Outcome) -> Outcome:
    return Outcome(*map(sum, zip(one, other, strict=True)))


def _batches(parsed: Iterable[Parsed]) -> Iterator[list[Parsed]]:
    """Lines to store together. A batch ends before an external id that it has already, and when it is full."""
    batch: list[Parsed] = []
    size = 0
    external_ids: set[str | None] = set()
    for each in parsed:
        external_id = each.line.fields.get("external_id")
        if len(batch) == BATCH_LINES or size > BATCH_BYTES or external_id in external_ids:
            yield batch
            batch, size, external_ids = [], 0, set()
        batch.append(each)
        size += len(each.text)
        external_ids |= {external_id} - {None}
    if batch:
        yield batch
