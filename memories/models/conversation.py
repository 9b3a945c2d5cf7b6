"""A conversation, its turns that wait in PostgreSQL, the memories that hold its saved turns, and its gaps."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from memories.models.base import StatementTime
from memories.tenants import Tenant


class Conversation(models.Model):
    """One row a conversation. Its lock orders every write, except the turns that Redis numbers by itself."""

    id = models.BigAutoField(primary_key=True)
    user_id = models.TextField()
    project_id = models.TextField()
    conversation_id = models.TextField(help_text="the name that the client gave")
    # No turn has a higher number. Redis takes numbers from a block that ends here.
    reserved_through = models.BigIntegerField(default=0)
    saved_turns = models.PositiveIntegerField(default=0)
    last_turn_at = models.DateTimeField(
        null=True, blank=True, help_text="time of the last turn that PostgreSQL knows of"
    )
    closed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=StatementTime())
    # Redis has a block of numbers, and may hold turns. If Redis does not know the conversation, turns are lost.
    in_redis = models.BooleanField(default=False)
    generation = models.IntegerField(
        default=0, help_text="generation of the failover when Redis got its last block of numbers"
    )
    redis_saved_through = models.BigIntegerField(
        default=0, help_text="highest number of a turn saved from Redis"
    )
    seen_in_redis = models.PositiveIntegerField(
        default=0, help_text="turns that waited in Redis when the flush last looked"
    )
    # Posts that Redis did not answer and PostgreSQL then took. If Redis has them after all, they do not count.
    uncertain_posts = ArrayField(models.TextField(), default=list, blank=True)
    # A conversation that cannot be saved is set aside; see `memories.conversations.set_aside`.
    save_failures = models.PositiveIntegerField(
        db_default=0, help_text="failed saves since the last good one"
    )
    save_error = models.TextField(db_default="", blank=True)
    save_retry_at = models.DateTimeField(null=True, blank=True, help_text="time of the next try to save it")

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
            models.Index(
                fields=("save_retry_at",),
                condition=models.Q(save_retry_at__isnull=False),
                name="conversations_set_aside",
            ),
        )

    def __str__(self) -> str:
        return self.conversation_id

    @property
    def tenant(self) -> Tenant:
        return Tenant(self.user_id, self.project_id)


class BufferedTurn(models.Model):
    """A turn that waits in PostgreSQL. It costs one insert: no event, no embedding, no history."""

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


class ConversationChunk(models.Model):
    """Which memory holds which turns. The memory names the chunk's number in `raw_data.part`."""

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(Conversation, models.CASCADE, db_index=False, related_name="chunks")
    number = models.PositiveIntegerField(help_text="from 1; only the last chunk still grows")
    # No constraint: the deletion of a memory does not look into this table.
    memory = models.ForeignKey(
        "memories.MemoryLog", models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    first_turn = models.BigIntegerField()
    last_turn = models.BigIntegerField()
    characters = models.PositiveIntegerField(help_text="length of the searchable text of its turns")

    class Meta:
        db_table = "conversation_chunks"
        ordering = ("conversation_id", "number")
        constraints = (
            models.UniqueConstraint(fields=("conversation", "number"), name="conversation_chunks_number"),
        )

    def __str__(self) -> str:
        return f"chunk {self.number} of conversation #{self.conversation_id}"


class ConversationGap(models.Model):
    """Turns that Redis no longer had when they were to be saved: evicted, flushed, expired or never persisted."""

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="gaps")
    after_turn = models.BigIntegerField()
    before_turn = models.BigIntegerField()
    at_least = models.PositiveIntegerField(help_text="number of lost turns that an earlier flush saw there")
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


class BufferFailover(models.Model):
    """The one row that says which buffer takes new turns; see `memories.conversations.buffers.failover`."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    generation = models.IntegerField(default=1, help_text="grows with each failover from Redis to PostgreSQL")
    failed_over_at = models.DateTimeField(
        null=True, blank=True, help_text="time since which turns go to PostgreSQL"
    )
    retry_at = models.DateTimeField(null=True, blank=True, help_text="time of the next attempt to use Redis")
    redis_run_id = models.TextField(
        blank=True, default="", help_text="run id of the Redis server; it changes when Redis restarts"
    )
    reason = models.TextField(blank=True, default="")

    class Meta:
        db_table = "conversation_failover"
        verbose_name = verbose_name_plural = "turn buffer"

    def __str__(self) -> str:
        return "PostgreSQL" if self.failed_over_at else "Redis"
