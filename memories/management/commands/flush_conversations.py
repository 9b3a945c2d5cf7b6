"""`flush_conversations`: save the conversations that have been idle."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from memories.conversations.flush import Outcome, flush


class Command(BaseCommand):
    help = (
        "Save the conversations without a turn for CONVERSATION_IDLE_MINUTES as memories, and those whose time in "
        "Redis runs out before the next two runs. A schedule of the cluster does the same every "
        "CONVERSATION_FLUSH_MINUTES. Exit code 1: Redis lost turns, or does not answer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--idle-minutes",
            type=_minutes,
            help="instead of CONVERSATION_IDLE_MINUTES; 0 saves all of them",
        )
        parser.add_argument(
            "--without-redis",
            action="store_true",
            help="give up what Redis holds and will never tell: record it as lost, save the rest",
        )
        parser.add_argument("--json", action="store_true", help="answer with one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        minutes = options["idle_minutes"]
        idle = timedelta(minutes=settings.CONVERSATION_IDLE_MINUTES if minutes is None else minutes)
        outcome = flush(idle=idle, without_redis=options["without_redis"])
        self.stdout.write(json.dumps(vars(outcome)) if options["json"] else _said(outcome))
        if wrong := problems(outcome):
            raise CommandError(wrong, returncode=1)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < 10**6:
        raise ArgumentTypeError(f"{text!r} is no number of minutes; write 0 or more")
    return minutes


def _said(outcome: Outcome) -> str:
    return (
        f"{outcome.conversations} conversations saved: {outcome.turns} turns in {outcome.memories} memories; "
        f"{outcome.active} still active."
    )


def problems(outcome: Outcome) -> str:
    """What a person should know; empty when there is nothing."""
    found = []
    if outcome.lost:
        found.append(
            f"{outcome.lost} conversations lost turns that waited in Redis; the admin and GET /conversations/{{id}} "
            "show where. Does it evict, was it emptied, or restarted without `appendonly yes`?"
        )
    if outcome.unreachable:
        found.append(
            f"{outcome.unreachable} conversations have turns in Redis, which does not answer or is not set "
            "(CONVERSATION_REDIS_URL). They are saved when it is back; --without-redis gives them up."
        )
    return " ".join(found)
