"""`load_memories FILE.jsonl`: store memories from a file, one JSON object a line."""

import json
from argparse import ArgumentParser, FileType
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import APIException
from tqdm import tqdm

from memories.api.parsers import StrictJSONParser
from memories.api.problems import problem_of
from memories.api.serializers.memory_log import MemoryLogInput
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
        for number, line in enumerate(tqdm(file, unit=" lines", disable=None), start=1):
            if not line.strip():
                continue
            try:
                given = MemoryLogInput(data=StrictJSONParser().parse(BytesIO(line)))
                given.is_valid(raise_exception=True)
            except APIException as error:
                self.bad += 1
                self.stderr.write(f"line {number}: {problem_of(error)['detail']}")
            else:
                yield NewMemory(**given.validated_data)
