import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.functions.datetime
from django.db import migrations, models

import outbox.events
from outbox.database import autovacuum, planner_statistics
from outbox.database.triggers import TRIGGERS, drop_statements

# Statistics of `status` mislead the planner. If they were taken while every event was delivered, they say that no
# event waits, and the planner then reads any index, even when a hundred thousand events wait. Without statistics it
# assumes that few rows wait, and each query uses the index made for it.
NO_STATUS_STATISTICS = "ALTER TABLE outbox_event ALTER COLUMN status SET STATISTICS 0"
DEFAULT_STATUS_STATISTICS = "ALTER TABLE outbox_event ALTER COLUMN status SET STATISTICS -1"

# They may quote what an application erases.
WORDS = {"outbox_event": ("payload", "headers", "last_error"), "outbox_failure": ("error", "traceback")}


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Circuit',
            fields=[
                ('dependency', models.TextField(primary_key=True, serialize=False)),
                ('types', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), blank=True, default=list, help_text='event types that are not claimed while it is open', size=None)),
                ('failures', models.PositiveIntegerField(default=0, help_text='failed tries in a row')),
                ('reason', models.TextField(blank=True, default='')),
                ('opened_at', models.DateTimeField(blank=True, null=True)),
                ('open_until', models.DateTimeField(blank=True, null=True)),
                ('tried_at', models.DateTimeField(blank=True, help_text='when it last did not answer', null=True)),
                ('probe', models.UUIDField(blank=True, help_text='token of the claim of the event that tries it', null=True)),
                ('held_at', models.DateTimeField(blank=True, null=True)),
                ('held_until', models.DateTimeField(blank=True, null=True)),
                ('hold_reason', models.TextField(blank=True, db_default='', default='')),
            ],
            options={
                'db_table': 'outbox_circuit',
            },
        ),
        migrations.CreateModel(
            name='EventType',
            fields=[],
            options={
                'verbose_name': 'event type',
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('outbox.circuit',),
        ),
        migrations.CreateModel(
            name='Relay',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('host', models.TextField()),
                ('pid', models.PositiveIntegerField()),
                ('wakeup', models.TextField(help_text='listen, or poll where LISTEN is off or no NOTIFY arrives')),
                ('started_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('seen_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='last sign of the process that claims')),
                ('alive_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='last sign of the cluster')),
                ('alive_since', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='signs without a gap since then')),
                ('session_pid', models.IntegerField(editable=False, null=True)),
                ('session_started', models.DateTimeField(editable=False, null=True)),
                ('process', models.TextField(db_default='', editable=False, help_text='identity of the main process')),
                ('in_hand', models.JSONField(db_default=models.Value([], models.JSONField()), default=list, editable=False, help_text='what each worker handles')),
                ('ended_at', models.DateTimeField(editable=False, help_text='found dead, and its claims are free', null=True)),
            ],
            options={
                'db_table': 'outbox_relay',
            },
        ),
        migrations.CreateModel(
            name='Activity',
            fields=[
                ('pk', models.CompositePrimaryKey('minute', 'cluster', 'type', blank=True, editable=False, primary_key=True, serialize=False)),
                ('minute', models.DateTimeField()),
                ('cluster', models.TextField(help_text='host:pid')),
                ('type', models.TextField()),
                ('delivered', models.BigIntegerField()),
            ],
            options={
                'db_table': 'outbox_activity',
            },
        ),
        migrations.CreateModel(
            name='Waiting',
            fields=[
                ('pk', models.CompositePrimaryKey('minute', 'type', blank=True, editable=False, primary_key=True, serialize=False)),
                ('minute', models.DateTimeField()),
                ('type', models.TextField()),
                ('count', models.BigIntegerField()),
                ('oldest_seconds', models.FloatField(help_text='since the oldest of them was due', null=True)),
            ],
            options={
                'db_table': 'outbox_waiting',
            },
        ),
        migrations.CreateModel(
            name='Epoch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.TextField(unique=True)),
                ('began_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'db_table': 'outbox_epoch',
            },
        ),
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('aggregatetype', models.TextField()),
                ('aggregateid', models.TextField()),
                ('type', models.TextField()),
                ('payload', models.JSONField(decoder=outbox.events.EventDecoder)),
                ('headers', models.JSONField(db_default=models.Value({}, models.JSONField()), decoder=outbox.events.EventDecoder, default=dict)),
                ('status', models.TextField(choices=[('pending', 'Pending'), ('claimed', 'Claimed'), ('delivered', 'Delivered'), ('dead', 'Dead'), ('discarded', 'Discarded')], db_default='pending', default='pending')),
                ('priority', models.SmallIntegerField(db_default=0, default=0, help_text='interactive 0, bulk 10: lower goes first')),
                ('attempts', models.PositiveIntegerField(db_default=0, default=0, help_text='claims so far: counted when claimed')),
                ('available_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('claim_token', models.UUIDField(blank=True, null=True)),
                ('relay', models.UUIDField(blank=True, editable=False, null=True)),
                ('lease_expires_at', models.DateTimeField(blank=True, null=True)),
                ('batch_limit', models.PositiveSmallIntegerField(blank=True, editable=False, null=True)),
                ('begun', models.PositiveSmallIntegerField(blank=True, editable=False, null=True)),
                ('parked_until', models.DateTimeField(blank=True, editable=False, null=True)),
                ('last_error', models.TextField(blank=True, db_default='', default='')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('delivered_at', models.DateTimeField(blank=True, null=True)),
                ('xact_id', models.BigIntegerField(db_default=django.db.models.functions.comparison.Cast(django.db.models.functions.comparison.Cast(models.Func(function='pg_current_xact_id', output_field=models.TextField()), models.TextField()), models.BigIntegerField()), editable=False)),
            ],
            options={
                'db_table': 'outbox_event',
                'ordering': ('-id',),
                'indexes': [models.Index(condition=models.Q(('attempts', 0), ('batch_limit', None), ('parked_until', None), ('status', 'pending')), fields=['type', 'priority', 'available_at', 'id'], name='outbox_event_fresh'), models.Index(condition=models.Q(('attempts__gt', 0), ('batch_limit', None), ('status', 'pending')), fields=['type', 'priority', 'available_at', 'id'], name='outbox_event_retry'), models.Index(condition=models.Q(('batch_limit__isnull', False), ('status', 'pending')), fields=['type', 'priority', 'available_at', 'id'], name='outbox_event_suspect'), models.Index(condition=models.Q(('status__in', ('pending', 'claimed'))), fields=['aggregatetype', 'aggregateid', 'id'], name='outbox_event_open'), models.Index(condition=models.Q(('lease_expires_at__isnull', False), ('status', 'claimed')), fields=['lease_expires_at'], name='outbox_event_leased'), models.Index(condition=models.Q(('status', 'delivered')), fields=['delivered_at'], name='outbox_event_delivered'), models.Index(condition=models.Q(('status__in', ('dead', 'discarded'))), fields=['status', 'type', 'id'], name='outbox_event_stopped'), models.Index(condition=models.Q(('status', 'dead')), fields=['aggregatetype', 'aggregateid', 'id'], name='outbox_event_dead_of'), models.Index(condition=models.Q(('attempts', 0), ('status', 'delivered')), fields=['xact_id', 'id'], name='outbox_event_recorded'), models.Index(condition=models.Q(('parked_until__isnull', False)), fields=['parked_until'], name='outbox_event_parked')],
                'constraints': [models.CheckConstraint(condition=models.Q(('status__in', ['pending', 'claimed', 'delivered', 'dead', 'discarded'])), name='outbox_event_status'), models.UniqueConstraint(condition=models.Q(('status', 'claimed')), fields=('aggregatetype', 'aggregateid'), name='outbox_event_in_flight')],
            },
        ),
        migrations.CreateModel(
            name='Intervention',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subject', models.TextField(blank=True, db_default='', default='', help_text='what was changed, if it is no event')),
                ('action', models.TextField(help_text='retried, discarded, paused, added …')),
                ('by', models.TextField(help_text='a user of the admin, or the account that ran the command')),
                ('reason', models.TextField(blank=True, default='')),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('event', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='interventions', to='outbox.event')),
            ],
            options={
                'db_table': 'outbox_intervention',
                'ordering': ('id',),
                'indexes': [models.Index(fields=['at'], name='outbox_intervention_at')],
            },
        ),
        migrations.CreateModel(
            name='Outage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('dependency', models.TextField()),
                ('opened_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField()),
                ('failures', models.PositiveIntegerField(help_text='failed tries')),
                ('reason', models.TextField()),
            ],
            options={
                'db_table': 'outbox_outage',
                'ordering': ('-closed_at',),
                'indexes': [models.Index(fields=['closed_at'], name='outbox_outage_closed_at')],
            },
        ),
        migrations.CreateModel(
            name='Failure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('attempt', models.PositiveIntegerField()),
                ('error', models.TextField()),
                ('traceback', models.TextField(blank=True, default='')),
                ('worker', models.TextField(help_text='host:pid of the worker')),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('event', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='failures', to='outbox.event')),
            ],
            options={
                'db_table': 'outbox_failure',
                'ordering': ('id',),
                'indexes': [models.Index(fields=['at'], name='outbox_failure_at')],
            },
        ),
        migrations.RunSQL(NO_STATUS_STATISTICS, DEFAULT_STATUS_STATISTICS),
        *(migrations.RunSQL(sql, reverse) for sql, reverse in planner_statistics.none_of(WORDS)),
        # outbox/database/autovacuum.py gives the values and their reasons. `outbox_doctor` compares the tables with them.
        *(
            migrations.RunSQL(autovacuum.set_statement(table), autovacuum.reset_statement(table))
            for table in autovacuum.SETTINGS
        ),
        *(migrations.RunSQL(create, drop_statements(name)) for name, create in TRIGGERS.items()),
    ]
