"""`flush_conversations`: save idle conversations."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from memories.conversations.flush import Outcome, flush
from outbox.counting import counted


class Command(BaseCommand):
    help = (
        "Save as memories the conversations without a turn for CONVERSATION_IDLE_MINUTES, and those that expire in "
        "Redis before the next two runs. A schedule of the cluster does the same every CONVERSATION_FLUSH_MINUTES. "
        "Exit code 1: Redis lost turns or does not answer, or a conversation cannot be saved."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--idle-minutes",
            type=_minutes,
            help="instead of CONVERSATION_IDLE_MINUTES; 0 saves all conversations",
        )
        parser.add_argument(
            "--without-redis",
            action="store_true",
            help="for a Redis that will not come back: record its turns as lost, and save the rest",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        minutes = options["idle_minutes"]
        idle = timedelta(minutes=settings.CONVERSATION_IDLE_MINUTES if minutes is None else minutes)
        outcome = flush(idle=idle, without_redis=options["without_redis"])
        self.stdout.write(json.dumps(vars(outcome)) if options["json"] else _summary(outcome))
        if problem := problems(outcome):
            raise CommandError(problem, returncode=1)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < 10**6:
        raise ArgumentTypeError(f"{text!r} is not a number of minutes; write 0 or more")
    return minutes


def _summary(outcome: Outcome) -> str:
    return (
        f"{counted(outcome.conversations, 'conversation')} saved: {counted(outcome.turns, 'turn')} in "
        f"{counted(outcome.memories, 'memory', 'memories')}; {outcome.active} still active."
    )


def problems(outcome: Outcome) -> str:
    """What the operator has to know, or an empty string."""
    found = []
    if outcome.lost:
        found.append(
            f"{counted(outcome.lost, 'conversation')} lost turns that waited in Redis; the admin and "
            "GET /conversations/{id} show the gaps. Find out whether Redis evicts, was flushed, or was restarted "
            "without `appendonly yes`."
        )
    if outcome.unreachable:
        found.append(
            f"{counted(outcome.unreachable, 'conversation')} with turns in Redis not saved: Redis does not answer or "
            "CONVERSATION_REDIS_URL is not set. They are saved when Redis is back; --without-redis gives them up."
        )
    if outcome.failed:
        found.append(
            f"{counted(outcome.failed, 'conversation')} could not be saved; the admin shows the error and the time of "
            "the next try (Conversations, filter by save retry)."
        )
    return " ".join(found)
