"""`load_memories FILE.jsonl`: store memories from a file, one JSON object a line."""

import json
from argparse import ArgumentParser, FileType
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import APIException
from tqdm import tqdm

from memories.api.errors import TooLarge
from memories.api.parsers import loads
from memories.api.problems import problem_of
from memories.api.serializers.memory_log import validate
from memories.records.services import NewMemory, create_memories

BATCH = 500


class Command(BaseCommand):
    help = "Store memories from a file of JSON lines, each as POST /memory-logs takes it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=FileType("rb"), help="a path, or - for standard input")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, file: IO[bytes], **options: Any) -> None:
        """Report bad lines and skip them. The exit code is 1 when there is one."""
        stored, self.bad = 0, 0
        with file:
            memories = self._memories(file)
            while batch := list(islice(memories, BATCH)):
                stored += len(create_memories(batch))
        if options["json"]:
            self.stdout.write(json.dumps({"stored": stored, "bad": self.bad}))
        else:
            self.stdout.write(f"{stored} memories stored, {self.bad} bad lines.")
        if self.bad:
            raise CommandError(f"{self.bad} lines were not stored; see above.", returncode=1)

    def _memories(self, file: IO[bytes]) -> Iterator[NewMemory]:
        for number, line in enumerate(tqdm(_lines(file), unit=" lines", disable=None), start=1):
            if not line.strip():
                continue
            try:
                yield _parse(line)
            except APIException as error:
                self.bad += 1
                self.stderr.write(f"line {number}: {problem_of(error)['detail']}")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of the file. Of a line above MAX_BODY_BYTES only its beginning is kept, and the rest is skipped."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + len(b"\n")
    while line := file.readline(limit + 1):
        yield line
        while len(line) > limit and not line.endswith(b"\n"):
            line = file.readline(limit + 1)


def _parse(line: bytes) -> NewMemory:
    """Raises APIException."""
    if len(line.rstrip(b"\r\n")) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        raise TooLarge
    return NewMemory(**validate(loads(line)))
