"""A conversation, where its turns are, and what was noticed to be missing."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from memories.models.base import StatementTime
from memories.tenants import Tenant


class Conversation(models.Model):
    """One row a conversation. Its lock orders everything but the turns that Redis numbers by itself."""

    id = models.BigAutoField(primary_key=True)
    user_id = models.TextField()
    project_id = models.TextField()
    conversation_id = models.TextField(help_text="as the client names it")
    # No turn has a higher number. Redis numbers turns from a block that is lent to it, up to here.
    given_through = models.BigIntegerField(default=0)
    saved_turns = models.PositiveIntegerField(default=0)
    last_turn_at = models.DateTimeField(null=True, blank=True, help_text="of those PostgreSQL knows")
    closed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=StatementTime())
    # A block is lent to Redis: it may hold turns, and a conversation it does not know is a loss.
    in_redis = models.BooleanField(default=False)
    generation = models.IntegerField(default=0, help_text="of the switch, when a block was last lent")
    redis_saved_through = models.BigIntegerField(default=0, help_text="the highest number saved from Redis")
    seen_in_redis = models.PositiveIntegerField(default=0, help_text="turns waiting there at the last look")
    # Posts that Redis did not answer, and that PostgreSQL then took: not counted if Redis has them after all.
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
    """A turn that waits in PostgreSQL. No event, no embedding, no history: one cheap insert."""

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
    number = models.PositiveIntegerField(help_text="from 1; only the last one still grows")
    # Without a constraint: a memory is deleted without a look in here.
    memory = models.ForeignKey(
        "memories.MemoryLog", models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    first_turn = models.BigIntegerField()
    last_turn = models.BigIntegerField()
    characters = models.PositiveIntegerField(help_text="of text, as its turns are searched by")

    class Meta:
        db_table = "conversation_parts"
        ordering = ("conversation_id", "number")
        constraints = (
            models.UniqueConstraint(fields=("conversation", "number"), name="conversation_parts_number"),
        )

    def __str__(self) -> str:
        return f"part {self.number} of conversation #{self.conversation_id}"


class ConversationGap(models.Model):
    """Turns that Redis no longer had when they were to be saved: evicted, flushed, expired or never written down."""

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="gaps")
    after_turn = models.BigIntegerField()
    before_turn = models.BigIntegerField()
    at_least = models.PositiveIntegerField(help_text="so many turns were seen there before")
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
    """An Idempotency-Key, and the turns that came with it. Of turns in Redis it is kept there until they are saved."""

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
    """The one row that says which buffer takes the turns; see `memories.conversations.buffers.failover`."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    generation = models.IntegerField(default=1, help_text="grows with each change from Redis to PostgreSQL")
    diverted_at = models.DateTimeField(null=True, blank=True, help_text="since when turns go to PostgreSQL")
    retry_at = models.DateTimeField(null=True, blank=True, help_text="when Redis is tried again")
    redis_run_id = models.TextField(blank=True, default="", help_text="another one: it was started anew")
    reason = models.TextField(blank=True, default="")

    class Meta:
        db_table = "conversation_switch"
        verbose_name = verbose_name_plural = "turn buffer"

    def __str__(self) -> str:
        return "PostgreSQL" if self.diverted_at else "Redis"
