"""What has to be done after a restore, whoever restored."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command
from django.db import connection, connections

from memories.indexing import repair
from memories.search.lexical.letters import refresh_terms
from outbox.operations.epoch import begin_epoch
from outbox.queue.lost import reclaim_all
from semantix.recovery import sequences


@dataclass(frozen=True)
class Index:
    """The state of the index after a restore. `problem`: why it is not equal yet, empty where it is."""

    rebuilt: Mapping[str, Any]
    problem: str = ""


def settle() -> int:
    """After `load`: apply the migrations that the backup lacks, and return former claims to the queue.

    The words of memories are written again where this server's locale takes other characters for letters.

    Returns the number of those claims.
    """
    connections.close_all()
    call_command("migrate", interactive=False, verbosity=0)
    refresh_terms()
    return reclaim_all()


def adopt() -> tuple[str, int]:
    """After a restore by other means: migrations, words of another locale, sequences, a new epoch.

    Returns the name of the epoch and the number of claims that returned to the queue.
    """
    call_command("migrate", interactive=False, verbosity=0)
    refresh_terms()
    with connection.cursor() as cursor:
        cursor.execute(sequences.CONTINUE)
    begun = begin_epoch()
    return begun.epoch, begun.reclaimed


def rebuild_index(*, quiet: bool) -> Index:
    """Make the index equal to the database. Where that fails, the cluster is asked to do it."""
    answer = StringIO()
    try:
        call_command(
            "rebuild_index", restart=True, json=True, stdout=answer, stderr=StringIO() if quiet else None
        )
    except CommandError as error:
        repair.request_check()
        return Index({}, str(error))
    return Index(json.loads(answer.getvalue()))
