"""The schedule that saves idle conversations in the cluster."""

from datetime import timedelta

from django.conf import settings

from memories.conversations.flush import flush
from outbox.operations.schedules import register_schedule

NAME = "flush_conversations"


def run() -> dict[str, int]:
    """The function of the schedule. It stops after 30 s, below the timeout of a task; the next run continues."""
    outcome = flush(idle=timedelta(minutes=settings.CONVERSATION_IDLE_MINUTES), seconds=30)
    return vars(outcome)


def register() -> None:
    """Have the cluster run `run` every CONVERSATION_FLUSH_MINUTES."""
    register_schedule(
        NAME, "memories.conversations.schedule.run", minutes=lambda: int(settings.CONVERSATION_FLUSH_MINUTES)
    )
