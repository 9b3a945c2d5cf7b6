"""The history of a memory, written by triggers."""

import pghistory
import pgtrigger
from django.db import models

from memories.models.memory import MemoryLog

# What makes a version. Bookkeeping (embedding, indexed_at, …) makes none, and no vector is kept twice.
VERSIONED = (
    "user_id",
    "project_id",
    "task",
    "agent",
    "date",
    "raw_data",
    "version",
    "created_at",
    "updated_at",
)


class MemoryVersion(
    pghistory.create_event_model(  # type: ignore[misc]  # a base that is made here
        MemoryLog,
        pghistory.InsertEvent("created", level=pghistory.Statement),
        # UPDATE OF: a statement that sets only bookkeeping does not even ask.
        pghistory.UpdateEvent(
            "updated",
            operation=pgtrigger.UpdateOf(*VERSIONED),
            condition=pgtrigger.AnyChange(*VERSIONED),
            trigger_name="updated",
            level=pghistory.Row,
        ),
        pghistory.DeleteEvent("deleted", level=pghistory.Statement),
        fields=list(VERSIONED),
        obj_field=pghistory.ObjForeignKey(db_index=False, related_name="+"),
        context_field=None,
        model_name="MemoryVersionBase",
        abstract=True,
    )
):
    """A state that a memory had. Written by triggers, so that bulk and SQL changes are in it, too.

    `pgh_label` is what made it (created, updated, deleted: then the last state), `pgh_created_at` when.
    """

    pgh_id: models.Field[int, int] = models.BigAutoField(primary_key=True)

    class Meta:
        db_table = "memory_versions"
        ordering = ("pgh_id",)
        indexes = (
            models.Index(fields=("pgh_obj", "pgh_id"), name="memory_versions_memory"),
            models.Index(fields=("user_id", "project_id", "-pgh_obj"), name="memory_versions_tenant"),
        )

    def __str__(self) -> str:
        return f"{self.pgh_label}: {self.task[:80]} #{self.pgh_obj_id}, version {self.version}"
