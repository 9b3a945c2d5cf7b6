"""The cluster's schedule that saves idle conversations."""

from typing import Any

import pytest
from django.core.management import call_command
from django.utils.module_loading import import_string
from django_q.models import Schedule

from outbox.operations.schedules import ensure_schedules
from tests.support.conversations import Chat

pytestmark = pytest.mark.django_db(transaction=True)


def the_schedule() -> Schedule:
    return Schedule.objects.get(name="flush_conversations")


def test_migrate_makes_it_once() -> None:
    call_command("migrate", verbosity=0)
    call_command("migrate", verbosity=0)

    assert (the_schedule().schedule_type, the_schedule().minutes) == (Schedule.MINUTES, 5)


def test_it_runs_as_often_as_the_setting_says_and_keeps_what_a_person_changed(settings: Any) -> None:
    ensure_schedules()
    Schedule.objects.update(repeats=0)
    settings.CONVERSATION_FLUSH_MINUTES = 7

    ensure_schedules()

    assert (the_schedule().minutes, the_schedule().repeats) == (7, 0)


def test_what_it_calls_saves_what_has_been_idle(settings: Any) -> None:
    ensure_schedules()
    settings.CONVERSATION_IDLE_MINUTES = 0
    chat = Chat()
    chat.say("hello")

    answer = import_string(the_schedule().func)()

    assert (answer["conversations"], chat.saved) == (1, ["hello"])
