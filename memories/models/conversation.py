"""A conversation, where its turns are stored, and which turns were lost."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from memories.models.base import StatementTime
from memories.tenants import Tenant


class Conversation(models.Model):
    """One row for each conversation. Its row lock orders every change, except turns that Redis numbers itself."""

    id = models.BigAutoField(primary_key=True)
    user_id = models.TextField()
    project_id = models.TextField()
    conversation_id = models.TextField(help_text="the client's own name for it")
    # The highest number given out. Redis numbers its turns from a block reserved for it, which ends here.
    given_through = models.BigIntegerField(default=0)
    saved_turns = models.PositiveIntegerField(default=0)
    last_turn_at = models.DateTimeField(
        null=True, blank=True, help_text="time of the newest turn that PostgreSQL knows"
    )
    closed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=StatementTime())
    # Redis has a block of numbers, so it may hold turns. If Redis does not know the conversation, turns are lost.
    in_redis = models.BooleanField(default=False)
    generation = models.IntegerField(default=0, help_text="of the buffer switch when Redis last got a block")
    redis_saved_through = models.BigIntegerField(default=0, help_text="highest turn number saved from Redis")
    seen_in_redis = models.PositiveIntegerField(
        default=0, help_text="turns that waited in Redis at the last flush"
    )
    # Requests that Redis did not answer and PostgreSQL then stored. If Redis has them after all, they are ignored.
    doubted = ArrayField(models.TextField(), default=list, blank=True)

    class Meta:
        db_table = "conversations"
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("user_id", "project_id", "conversation_id"), name="conversations_name"
            ),
        )
        indexes = (
            models.Index(fields=("user_id", "project_id", "-id"), name="conversations_tenant"),
            models.Index(fields=("id",), condition=models.Q(in_redis=True), name="conversations_in_redis"),
        )

    def __str__(self) -> str:
        return self.conversation_id

    @property
    def tenant(self) -> Tenant:
        return Tenant(self.user_id, self.project_id)


class BufferedTurn(models.Model):
    """A turn that waits in PostgreSQL. It has no event, no embedding and no history, so it is one cheap insert."""

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(Conversation, models.CASCADE, db_index=False, related_name="buffered")
    seq = models.BigIntegerField()
    turn = models.JSONField()

    class Meta:
        db_table = "conversation_turns"
        ordering = ("conversation_id", "seq")
        constraints = (
            models.UniqueConstraint(fields=("conversation", "seq"), name="conversation_turns_number"),
        )

    def __str__(self) -> str:
        return f"turn {self.seq} of conversation #{self.conversation_id}"


class ConversationPart(models.Model):
    """Which memory holds which turns."""

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(Conversation, models.CASCADE, db_index=False, related_name="parts")
    number = models.PositiveIntegerField(help_text="counts from 1; only the last part still grows")
    # No constraint: deleting a memory must not read this table.
    memory = models.ForeignKey(
        "memories.MemoryLog", models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    first_turn = models.BigIntegerField()
    last_turn = models.BigIntegerField()
    characters = models.PositiveIntegerField(help_text="characters of searchable text in its turns")

    class Meta:
        db_table = "conversation_parts"
        ordering = ("conversation_id", "number")
        constraints = (
            models.UniqueConstraint(fields=("conversation", "number"), name="conversation_parts_number"),
        )

    def __str__(self) -> str:
        return f"part {self.number} of conversation #{self.conversation_id}"


class ConversationGap(models.Model):
    """Turns that Redis had lost when they were saved: evicted, flushed, expired or never written to disk."""

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="gaps")
    after_turn = models.BigIntegerField()
    before_turn = models.BigIntegerField()
    at_least = models.PositiveIntegerField(help_text="minimum number of turns that were lost")
    reason = models.TextField()
    noticed_at = models.DateTimeField(db_default=StatementTime())

    class Meta:
        db_table = "conversation_gaps"
        ordering = ("conversation_id", "after_turn")

    def __str__(self) -> str:
        return (
            f"between turns {self.after_turn} and {self.before_turn} of conversation #{self.conversation_id}"
        )


class TurnKey(models.Model):
    """An Idempotency-Key and the turns that came with it. Redis keeps the keys of its turns until they are saved."""

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(Conversation, models.CASCADE, db_index=False, related_name="keys")
    key = models.TextField()
    body_hash = models.TextField()
    first_turn = models.BigIntegerField()
    count = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=StatementTime(), db_index=True)

    class Meta:
        db_table = "conversation_keys"
        constraints = (
            models.UniqueConstraint(fields=("conversation", "key"), name="conversation_keys_once"),
        )

    def __str__(self) -> str:
        return self.key


class BufferSwitch(models.Model):
    """The single row that says which buffer takes the turns; see `memories.conversations.buffers.failover`."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    generation = models.IntegerField(default=1, help_text="grows with each change from Redis to PostgreSQL")
    diverted_at = models.DateTimeField(
        null=True, blank=True, help_text="when turns began to go to PostgreSQL"
    )
    retry_at = models.DateTimeField(null=True, blank=True, help_text="when Redis will be tried again")
    redis_run_id = models.TextField(
        blank=True, default="", help_text="id of the Redis process; changes with a restart"
    )
    reason = models.TextField(blank=True, default="")

    class Meta:
        db_table = "conversation_switch"
        verbose_name = verbose_name_plural = "turn buffer"

    def __str__(self) -> str:
        return "PostgreSQL" if self.diverted_at else "Redis"
