"""The outbox's tables. `Event` keeps the column names that Debezium's outbox event router expects."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Cast, Now
from django.utils import timezone

from outbox.events import EventDecoder


class Status(models.TextChoices):
    PENDING = "pending"
    CLAIMED = "claimed"
    DELIVERED = "delivered"
    DEAD = "dead"
    DISCARDED = "discarded"


class Event(models.Model):
    """A committed change and the state of its delivery.

    The database has the defaults too: another program can publish with an INSERT of aggregatetype, aggregateid,
    type and payload in the transaction of its change.
    """

    id = models.BigAutoField(primary_key=True)
    aggregatetype = models.TextField()
    aggregateid = models.TextField()
    type = models.TextField()
    payload = models.JSONField(decoder=EventDecoder)
    headers = models.JSONField(
        decoder=EventDecoder, default=dict, db_default=models.Value({}, models.JSONField())
    )
    status = models.TextField(choices=Status, default=Status.PENDING, db_default=Status.PENDING)
    priority = models.SmallIntegerField(
        default=0, db_default=0, help_text="interactive 0, bulk 10: lower goes first"
    )
    attempts = models.PositiveIntegerField(
        default=0, db_default=0, help_text="claims so far: counted when claimed"
    )
    available_at = models.DateTimeField(db_default=Now())
    claim_token = models.UUIDField(null=True, blank=True)
    # The relay that claimed the event. The claim ends when this relay is dead, at the latest when the lease expires.
    relay = models.UUIDField(null=True, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    # Set for a suspect: its worker or its relay died before. At most this many events are handled together with it.
    batch_limit = models.PositiveSmallIntegerField(null=True, blank=True, editable=False)
    # Set while a worker has a suspect: the number of events in its task. After the death of the whole cluster it shows
    # what was begun.
    begun = models.PositiveSmallIntegerField(null=True, blank=True, editable=False)
    # Set while the event waits behind many events of its aggregate. The claim's index leaves such an event out.
    parked_until = models.DateTimeField(null=True, blank=True, editable=False)
    last_error = models.TextField(blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now())
    delivered_at = models.DateTimeField(null=True, blank=True)
    # Ids do not commit in order. No new row can appear below pg_snapshot_xmin, so a reader that compares this
    # transaction id with it can read the table as a stream and loses no late commit.
    xact_id = models.BigIntegerField(
        db_default=Cast(
            Cast(
                models.Func(function="pg_current_xact_id", output_field=models.TextField()),
                models.TextField(),
            ),
            models.BigIntegerField(),
        ),
        editable=False,
    )

    class Meta:
        db_table = "outbox_event"
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(condition=models.Q(status__in=Status.values), name="outbox_event_status"),
            # At most one claimed event per aggregate, also among concurrent claims.
            models.UniqueConstraint(
                fields=("aggregatetype", "aggregateid"),
                condition=models.Q(status="claimed"),
                name="outbox_event_in_flight",
            ),
        )
        indexes = (
            # The claim reads each type in this order. Delivered rows are in none of these three indexes.
            models.Index(
                fields=("type", "priority", "available_at", "id"),
                condition=models.Q(status="pending", attempts=0, parked_until=None, batch_limit=None),
                name="outbox_event_fresh",
            ),
            models.Index(
                fields=("type", "priority", "available_at", "id"),
                condition=models.Q(status="pending", attempts__gt=0, batch_limit=None),
                name="outbox_event_retry",
            ),
            models.Index(
                fields=("type", "priority", "available_at", "id"),
                condition=models.Q(status="pending", batch_limit__isnull=False),
                name="outbox_event_suspect",
            ),
            # Answers "is an earlier event of this aggregate still open?".
            models.Index(
                fields=("aggregatetype", "aggregateid", "id"),
                condition=models.Q(status__in=("pending", "claimed")),
                name="outbox_event_open",
            ),
            # Every claimed event has a lease. The second condition keeps the planner from reading this index where it
            # looks for the claimed event of one aggregate: in an empty table all indexes seem to cost the same.
            models.Index(
                fields=("lease_expires_at",),
                condition=models.Q(status="claimed", lease_expires_at__isnull=False),
                name="outbox_event_leased",
            ),
            models.Index(
                fields=("delivered_at",),
                condition=models.Q(status="delivered"),
                name="outbox_event_delivered",
            ),
            # Events that wait for a person, or that a person discarded: few rows, counted and listed by type.
            models.Index(
                fields=("status", "type", "id"),
                condition=models.Q(status__in=("dead", "discarded")),
                name="outbox_event_stopped",
            ),
            # Answers "did an event of this aggregate die?".
            models.Index(
                fields=("aggregatetype", "aggregateid", "id"),
                condition=models.Q(status="dead"),
                name="outbox_event_dead_of",
            ),
            # The stream of recorded events: see outbox.queue.stream.
            models.Index(
                fields=("xact_id", "id"),
                condition=models.Q(status="delivered", attempts=0),
                name="outbox_event_recorded",
            ),
            models.Index(
                fields=("parked_until",),
                condition=models.Q(parked_until__isnull=False),
                name="outbox_event_parked",
            ),
        )

    def __str__(self) -> str:
        return f"{self.type} #{self.pk} ({self.status})"


class Failure(models.Model):
    """One failed attempt. A row is history and is never changed."""

    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="failures")
    attempt = models.PositiveIntegerField()
    error = models.TextField()
    traceback = models.TextField(blank=True, default="")
    worker = models.TextField(help_text="host:pid of the worker")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "outbox_failure"
        ordering = ("id",)
        indexes = (models.Index(fields=("at",), name="outbox_failure_at"),)

    def __str__(self) -> str:
        return f"attempt {self.attempt} of event {self.event_id}: {self.error[:80]}"


class Intervention(models.Model):
    """What a person decided: about an event, or about anything else that the admin or a command changes.

    A row is history and is never changed.
    """

    class Action(models.TextChoices):
        RETRIED = "retried"
        DISCARDED = "discarded"

    event = models.ForeignKey(
        Event, on_delete=models.CASCADE, related_name="interventions", null=True, blank=True
    )
    subject = models.TextField(
        blank=True, default="", db_default="", help_text="what was changed, if it is no event"
    )
    action = models.TextField(help_text="retried, discarded, paused, added …")
    by = models.TextField(help_text="a user of the admin, or the account that ran the command")
    reason = models.TextField(blank=True, default="")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "outbox_intervention"
        ordering = ("id",)
        indexes = (models.Index(fields=("at",), name="outbox_intervention_at"),)

    def __str__(self) -> str:
        return f"{self.subject or f'event {self.event_id}'} {self.action} by {self.by}"


# The end of a hold that has none: a person ends it.
UNTIL_RELEASED = datetime(9999, 12, 31, tzinfo=UTC)
# The circuit of an event type that a person may pause is named like this, so that no dependency has its name.
TYPE_PREFIX = "type:"


class Circuit(models.Model):
    """The circuit of a dependency. It is open while `opened_at` is set; a probe runs after `open_until`.

    A person can hold it as well, until `held_until`. A hold and an outage do not change each other.

    An event type that a person pauses is a row too: its name is TYPE_PREFIX and the type, and it is held.
    """

    dependency = models.TextField(primary_key=True)
    types = ArrayField(
        models.TextField(),
        default=list,
        blank=True,
        help_text="event types that are not claimed while it is open",
    )
    failures = models.PositiveIntegerField(default=0, help_text="failed tries in a row")
    reason = models.TextField(blank=True, default="")
    opened_at = models.DateTimeField(null=True, blank=True)
    open_until = models.DateTimeField(null=True, blank=True)
    tried_at = models.DateTimeField(null=True, blank=True, help_text="when it last did not answer")
    probe = models.UUIDField(null=True, blank=True, help_text="token of the claim of the event that tries it")
    held_at = models.DateTimeField(null=True, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)
    hold_reason = models.TextField(blank=True, default="", db_default="")

    class Meta:
        db_table = "outbox_circuit"

    def __str__(self) -> str:
        return f"{self.name} ({'held' if self.is_held else 'open' if self.opened_at else 'closed'})"

    @property
    def name(self) -> str:
        """The dependency, or the event type."""
        return self.dependency.removeprefix(TYPE_PREFIX)

    @property
    def is_event_type(self) -> bool:
        return self.dependency.startswith(TYPE_PREFIX)

    @property
    def is_held(self) -> bool:
        return self.held_until is not None and self.held_until > timezone.now()

    @property
    def hold_ends(self) -> datetime | None:
        """When the hold ends by itself; None if a person has to end it."""
        return None if self.held_until == UNTIL_RELEASED else self.held_until


class EventTypes(models.Manager["EventType"]):
    def get_queryset(self) -> "models.QuerySet[EventType]":
        return super().get_queryset().filter(dependency__startswith=TYPE_PREFIX)


class EventType(Circuit):
    """An event type, for the pages where a person pauses and resumes it."""

    objects: ClassVar[EventTypes] = EventTypes()

    class Meta:
        proxy = True
        verbose_name = "event type"

    def __str__(self) -> str:
        return self.name


class Outage(models.Model):
    """A past outage, written when its circuit closed. A present outage is in the circuit's own row."""

    dependency = models.TextField()
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField()
    failures = models.PositiveIntegerField(help_text="failed tries")
    reason = models.TextField()

    class Meta:
        db_table = "outbox_outage"
        ordering = ("-closed_at",)
        indexes = (models.Index(fields=("closed_at",), name="outbox_outage_closed_at"),)

    def __str__(self) -> str:
        return f"{self.dependency} unavailable from {self.opened_at:%H:%M:%S} to {self.closed_at:%H:%M:%S}"


class Relay(models.Model):
    """The heartbeat of a relay, which is one cluster. See outbox.cluster.heartbeat."""

    id = models.UUIDField(primary_key=True)
    host = models.TextField()
    pid = models.PositiveIntegerField()
    wakeup = models.TextField(help_text="listen, or poll where LISTEN is off or no NOTIFY arrives")
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now(), help_text="last sign of the process that claims")
    alive_at = models.DateTimeField(db_default=Now(), help_text="last sign of the cluster")
    alive_since = models.DateTimeField(db_default=Now(), help_text="signs without a gap since then")
    # The session of the cluster's heartbeat in the database.
    session_pid = models.IntegerField(null=True, editable=False)
    session_started = models.DateTimeField(null=True, editable=False)
    process = models.TextField(db_default="", editable=False, help_text="identity of the main process")
    # See outbox.cluster.in_hand.
    in_hand = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        editable=False,
        help_text="what each worker handles",
    )
    ended_at = models.DateTimeField(
        null=True, editable=False, help_text="found dead, and its claims are free"
    )

    class Meta:
        db_table = "outbox_relay"

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class Activity(models.Model):
    """How many events of a type a cluster delivered in a minute. See outbox.operations.samples."""

    pk = models.CompositePrimaryKey("minute", "cluster", "type")
    minute = models.DateTimeField()
    cluster = models.TextField(help_text="host:pid")
    type = models.TextField()
    delivered = models.BigIntegerField()

    class Meta:
        db_table = "outbox_activity"

    def __str__(self) -> str:
        return f"{self.delivered} {self.type} by {self.cluster}"


class Waiting(models.Model):
    """How many events of a type were open at the beginning of a minute. The type "" stands for all types."""

    pk = models.CompositePrimaryKey("minute", "type")
    minute = models.DateTimeField()
    type = models.TextField()
    count = models.BigIntegerField()
    oldest_seconds = models.FloatField(null=True, help_text="since the oldest of them was due")

    class Meta:
        db_table = "outbox_waiting"

    def __str__(self) -> str:
        return f"{self.count} {self.type or 'events'} waited"


class Epoch(models.Model):
    """A time between two restores. The newest row is the current epoch; a fresh database has none."""

    name = models.TextField(unique=True)
    began_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "outbox_epoch"

    def __str__(self) -> str:
        return self.name


def open_events() -> "models.QuerySet[Event, Any]":
    """The events that are pending or claimed."""
    return Event.objects.filter(status__in=(Status.PENDING, Status.CLAIMED))
