"""The history of a memory, written by triggers."""

import pghistory
import pgtrigger
from django.db import models

from memories.models.base import ContentBytes
from memories.models.memory import MemoryLog

# A change of these columns makes a version. Bookkeeping (embedding, indexed_at, …) does not, so no vector is stored
# twice.
VERSIONED = (
    "user_id",
    "project_id",
    "task",
    "agent",
    "date",
    "raw_data",
    "external_id",
    "version",
    "created_at",
    "updated_at",
)


class MemoryVersion(
    pghistory.create_event_model(  # type: ignore[misc]  # the base class is created here
        MemoryLog,
        pghistory.InsertEvent("created", level=pghistory.Statement),
        # UPDATE OF: a statement that sets only bookkeeping columns does not run the trigger at all.
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
    """One state of a memory. Triggers write it, so bulk and SQL changes are recorded too.

    `pgh_label` says what happened (created, updated, deleted; a deletion keeps the last state) and
    `pgh_created_at` when.
    """

    pgh_id: "models.Field[int, int]" = models.BigAutoField(primary_key=True)
    content_bytes = ContentBytes()

    class Meta:
        db_table = "memory_versions"
        ordering = ("pgh_id",)
        indexes = (
            models.Index(fields=("pgh_obj", "pgh_id"), name="memory_versions_memory"),
            models.Index(fields=("user_id", "project_id", "-pgh_obj"), name="memory_versions_tenant"),
            # Deleted memories by the time of their deletion, for the retention.
            models.Index(
                fields=("pgh_created_at",),
                condition=models.Q(pgh_label="deleted"),
                name="memory_versions_deleted",
            ),
        )

    def __str__(self) -> str:
        return f"{self.pgh_label}: {self.task[:80]} #{self.pgh_obj_id}, version {self.version}"
