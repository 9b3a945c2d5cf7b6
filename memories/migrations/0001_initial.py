import datetime
import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import memories.models.base
import memories.models.vector_field
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models
from pgvector.django import VectorExtension

from memories.search.lexical.schema import CREATE, DROP
from outbox.database import planner_statistics

# Columns that hold words of a memory.
WORDS = {
    "memory_logs": ("task", "agent", "raw_data", "external_id", "idempotency_key"),
    "memory_versions": ("task", "agent", "raw_data", "external_id"),
    "conversation_turns": ("turn",),
    "conversations": ("save_error",),
    "idempotent_answers": ("key", "body", "headers"),
    "bulk_deletions": ("filters",),
}


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        # Its function is called by the triggers that write versions.
        ("pghistory", "0007_auto_20250421_0444"),
    ]

    operations = [
        # Any role that owns the database may create it: pgvector is a trusted extension.
        VectorExtension(),
        migrations.CreateModel(
            name='APIKey',
            fields=[
                ('id', models.CharField(editable=False, max_length=150, primary_key=True, serialize=False, unique=True)),
                ('prefix', models.CharField(editable=False, max_length=8, unique=True)),
                ('hashed_key', models.CharField(editable=False, max_length=150)),
                ('created', models.DateTimeField(auto_now_add=True, db_index=True)),
                ('name', models.CharField(default=None, help_text='A free-form name for the API key. Need not be unique. 50 characters max.', max_length=50)),
                ('revoked', models.BooleanField(blank=True, default=False, help_text='If the API key is revoked, clients cannot use it anymore. (This cannot be undone.)')),
                ('expiry_date', models.DateTimeField(blank=True, help_text='Once API key expires, clients cannot use it anymore.', null=True, verbose_name='Expires')),
                ('user_id', models.TextField(help_text='the user whose memories the key opens')),
                ('project_id', models.TextField(blank=True, default='', help_text="the only project the key opens; empty: all projects of the user")),
                ('may_erase', models.BooleanField(default=False, help_text='whether the key may erase: remove memories with their history, for ever')),
                ('last_used_at', models.DateTimeField(editable=False, help_text='exact to the minute', null=True)),
            ],
            options={
                'verbose_name': 'API key',
                'verbose_name_plural': 'API keys',
                'db_table': 'api_keys',
                'ordering': ('-created',),
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='BufferFailover',
            fields=[
                ('id', models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('generation', models.IntegerField(default=1, help_text='grows with each failover from Redis to PostgreSQL')),
                ('failed_over_at', models.DateTimeField(blank=True, help_text='time since which turns go to PostgreSQL', null=True)),
                ('retry_at', models.DateTimeField(blank=True, help_text='time of the next attempt to use Redis', null=True)),
                ('redis_run_id', models.TextField(blank=True, default='', help_text='run id of the Redis server; it changes when Redis restarts')),
                ('reason', models.TextField(blank=True, default='')),
            ],
            options={
                'verbose_name': 'turn buffer',
                'verbose_name_plural': 'turn buffer',
                'db_table': 'conversation_failover',
            },
        ),
        migrations.CreateModel(
            name='MemoryVersion',
            fields=[
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('user_id', models.TextField()),
                ('project_id', models.TextField()),
                ('task', models.TextField()),
                ('agent', models.TextField()),
                ('date', models.DateField(default=datetime.date.today)),
                ('raw_data', models.JSONField(default=dict)),
                ('external_id', models.TextField(blank=True, help_text="the client's own id", null=True)),
                ('version', models.PositiveIntegerField(default=1, help_text='grows with each change')),
                ('created_at', models.DateTimeField(db_default=memories.models.base.StatementTime())),
                ('updated_at', models.DateTimeField(db_default=memories.models.base.StatementTime())),
                ('pgh_id', models.BigAutoField(primary_key=True, serialize=False)),
                ('content_bytes', memories.models.base.ContentBytes()),
            ],
            options={
                'db_table': 'memory_versions',
                'ordering': ('pgh_id',),
            },
        ),
        migrations.CreateModel(
            name='TurnKey',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('key', models.TextField()),
                ('body_hash', models.TextField()),
                ('first_turn', models.BigIntegerField()),
                ('count', models.PositiveIntegerField()),
                ('created_at', models.DateTimeField(db_default=memories.models.base.StatementTime(), db_index=True)),
            ],
            options={
                'db_table': 'conversation_keys',
            },
        ),
        migrations.CreateModel(
            name='Verification',
            fields=[
                ('id', models.SmallAutoField(primary_key=True, serialize=False)),
                ('generation_id', models.BigIntegerField(default=0, help_text='the index that is being compared')),
                ('memory_id', models.BigIntegerField(default=0, help_text='the highest memory id compared so far')),
                ('documents', models.BigIntegerField(default=0, help_text='after the last memory: how many documents of the index were looked up so far')),
                ('report', models.JSONField(default=dict, help_text='result of the last part compared')),
                ('checked_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'db_table': 'memory_index_verification',
            },
        ),
        migrations.CreateModel(
            name='Conversation',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('user_id', models.TextField()),
                ('project_id', models.TextField()),
                ('conversation_id', models.TextField(help_text='the name that the client gave')),
                ('reserved_through', models.BigIntegerField(default=0)),
                ('saved_turns', models.PositiveIntegerField(default=0)),
                ('last_turn_at', models.DateTimeField(blank=True, help_text='time of the last turn that PostgreSQL knows of', null=True)),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(db_default=memories.models.base.StatementTime())),
                ('in_redis', models.BooleanField(default=False)),
                ('generation', models.IntegerField(default=0, help_text='generation of the failover when Redis got its last block of numbers')),
                ('redis_saved_through', models.BigIntegerField(default=0, help_text='highest number of a turn saved from Redis')),
                ('seen_in_redis', models.PositiveIntegerField(default=0, help_text='turns that waited in Redis when the flush last looked')),
                ('uncertain_posts', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), blank=True, default=list, size=None)),
                ('save_failures', models.PositiveIntegerField(db_default=0, help_text='failed saves since the last good one')),
                ('save_error', models.TextField(blank=True, db_default='')),
                ('save_retry_at', models.DateTimeField(blank=True, help_text='time of the next try to save it', null=True)),
            ],
            options={
                'db_table': 'conversations',
                'ordering': ('-id',),
                'indexes': [models.Index(fields=['user_id', 'project_id', '-id'], name='conversations_tenant'), models.Index(condition=models.Q(('in_redis', True)), fields=['id'], name='conversations_in_redis'), models.Index(condition=models.Q(('save_retry_at__isnull', False)), fields=['save_retry_at'], name='conversations_set_aside')],
                'constraints': [models.UniqueConstraint(fields=('user_id', 'project_id', 'conversation_id'), name='conversations_name')],
            },
        ),
        migrations.CreateModel(
            name='BufferedTurn',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('seq', models.BigIntegerField()),
                ('turn', models.JSONField()),
                ('conversation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='buffered', to='memories.conversation')),
            ],
            options={
                'db_table': 'conversation_turns',
                'ordering': ('conversation_id', 'seq'),
            },
        ),
        migrations.CreateModel(
            name='ConversationGap',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('after_turn', models.BigIntegerField()),
                ('before_turn', models.BigIntegerField()),
                ('at_least', models.PositiveIntegerField(help_text='number of lost turns that an earlier flush saw there')),
                ('reason', models.TextField()),
                ('noticed_at', models.DateTimeField(db_default=memories.models.base.StatementTime())),
                ('conversation', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='gaps', to='memories.conversation')),
            ],
            options={
                'db_table': 'conversation_gaps',
                'ordering': ('conversation_id', 'after_turn'),
            },
        ),
        migrations.CreateModel(
            name='Generation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user_id', models.TextField()),
                ('project_id', models.TextField()),
                ('collection', models.TextField(help_text='name of the collection in Chroma', unique=True)),
                ('chroma_id', models.UUIDField(blank=True, help_text="Chroma's id of the collection; a new collection of the same name has another", null=True)),
                ('backend', models.TextField(help_text='EMBEDDING_BACKEND that makes its vectors and embeds the queries to it')),
                ('model', models.TextField()),
                ('dimensions', models.PositiveIntegerField()),
                ('state', models.TextField(choices=[('building', 'Building'), ('active', 'Active'), ('retired', 'Retired')], default='building')),
                ('position', models.BigIntegerField(blank=True, help_text='while it is being filled: the highest memory id it holds', null=True)),
                ('until', models.BigIntegerField(blank=True, help_text='while it is being filled: the newest memory when that began; later ones have events of their own', null=True)),
                ('sent', models.BigIntegerField(blank=True, help_text='while it is being filled: the highest memory id whose write to Chroma may have begun', null=True)),
                ('fill_token', models.UUIDField(blank=True, help_text='while it is being filled: the run that fills it; no other moves the position', null=True)),
                ('rebuild', models.BooleanField(default=False, help_text='a person asked for a rebuild that is not finished')),
                ('created_at', models.DateTimeField(db_default=memories.models.base.StatementTime())),
                ('activated_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'db_table': 'memory_index_generations',
                'ordering': ('id',),
                'constraints': [models.UniqueConstraint(condition=models.Q(('state', 'active')), fields=('user_id', 'project_id'), name='memory_index_one_active'), models.UniqueConstraint(condition=models.Q(('state', 'building')), fields=('user_id', 'project_id'), name='memory_index_one_building')],
            },
        ),
        migrations.CreateModel(
            name='IdempotentAnswer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user_id', models.TextField()),
                ('project_id', models.TextField()),
                ('key', models.TextField()),
                ('fingerprint', models.TextField(help_text='hash of the request; the key with another request is refused')),
                ('status', models.PositiveSmallIntegerField()),
                ('body', models.TextField(help_text='the JSON body as it was sent')),
                ('headers', models.JSONField(default=dict)),
                ('memory_id', models.BigIntegerField(blank=True, help_text='the memory that the body is; null: the body holds ids only', null=True)),
                ('created_at', models.DateTimeField(db_default=memories.models.base.StatementTime())),
            ],
            options={
                'db_table': 'idempotent_answers',
                'indexes': [models.Index(fields=['created_at'], name='idempotent_answers_age'), models.Index(condition=models.Q(('memory_id__isnull', False)), fields=['memory_id'], name='idempotent_answers_memory')],
                'constraints': [models.UniqueConstraint(fields=('user_id', 'project_id', 'key'), name='idempotent_answers_key')],
            },
        ),
        migrations.CreateModel(
            name='MemoryLog',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('user_id', models.TextField()),
                ('project_id', models.TextField()),
                ('task', models.TextField()),
                ('agent', models.TextField()),
                ('date', models.DateField(default=datetime.date.today)),
                ('raw_data', models.JSONField(default=dict)),
                ('version', models.PositiveIntegerField(default=1, help_text='grows with each change')),
                ('content_hash', models.TextField(help_text='hash of the searchable text; a new hash needs a new embedding')),
                ('embedding', memories.models.vector_field.EmbeddingField(blank=True, help_text='vector of the text whose hash is embedded_hash', null=True)),
                ('embedding_model', models.TextField(blank=True, default='')),
                ('embedded_hash', models.TextField(blank=True, default='', help_text='the content_hash that the embedding belongs to')),
                ('embedded_at', models.DateTimeField(blank=True, null=True)),
                ('indexed_version', models.PositiveIntegerField(blank=True, help_text='the version that Chroma holds', null=True)),
                ('indexed_at', models.DateTimeField(blank=True, null=True)),
                ('idempotency_key', models.TextField(blank=True, null=True)),
                ('external_id', models.TextField(blank=True, help_text="the client's own id", null=True)),
                ('duplicate_of', models.BigIntegerField(blank=True, help_text='an earlier memory with the same task, agent and raw_data', null=True)),
                ('similar_to', models.BigIntegerField(blank=True, help_text='the memory that if_similar=link found at the creation', null=True)),
                ('expires_at', models.DateTimeField(blank=True, help_text='from then on no read and no search finds it', null=True)),
                ('content_bytes', memories.models.base.ContentBytes()),
                ('created_at', models.DateTimeField(db_default=memories.models.base.StatementTime())),
                ('updated_at', models.DateTimeField(db_default=memories.models.base.StatementTime())),
            ],
            options={
                'verbose_name': 'memory',
                'verbose_name_plural': 'memories',
                'db_table': 'memory_logs',
                'ordering': ('-id',),
                'indexes': [models.Index(fields=['user_id', 'project_id', '-id', 'agent', 'date'], name='memory_logs_tenant'), models.Index(memories.models.base.ContentKey(), name='memory_logs_content'), models.Index(condition=models.Q(('expires_at__isnull', False)), fields=['expires_at'], name='memory_logs_expiring'), django.contrib.postgres.indexes.GinIndex(django.contrib.postgres.indexes.OpClass(models.F('raw_data__tags'), name='jsonb_path_ops'), name='memory_logs_tags'), models.Index(condition=models.Q(('indexed_version__isnull', True), models.Q(('indexed_version', models.F('version')), _negated=True), _connector='OR'), fields=['user_id', 'project_id', 'id'], name='memory_logs_unindexed')],
                'constraints': [models.UniqueConstraint(fields=('user_id', 'project_id', 'idempotency_key'), name='memory_logs_idempotency_key'), models.UniqueConstraint(condition=models.Q(('external_id__isnull', False)), fields=('user_id', 'project_id', 'external_id'), name='memory_logs_external_id')],
            },
        ),
        migrations.CreateModel(
            name='ConversationChunk',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField(help_text='from 1; only the last chunk still grows')),
                ('first_turn', models.BigIntegerField()),
                ('last_turn', models.BigIntegerField()),
                ('characters', models.PositiveIntegerField(help_text='length of the searchable text of its turns')),
                ('conversation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='chunks', to='memories.conversation')),
                ('memory', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='memories.memorylog')),
            ],
            options={
                'db_table': 'conversation_chunks',
                'ordering': ('conversation_id', 'number'),
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='memorylog',
            trigger=pgtrigger.compiler.Trigger(name='created_insert', sql=pgtrigger.compiler.UpsertTriggerSql(func='WITH _pgh_attached_context AS ( SELECT _pgh_attach_context() AS value ) INSERT INTO "memory_versions" ("agent", "created_at", "date", "external_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "project_id", "raw_data", "task", "updated_at", "user_id", "version") SELECT new_values."agent", new_values."created_at", new_values."date", new_values."external_id", statement_timestamp(), \'created\', new_values."id", new_values."project_id", new_values."raw_data", new_values."task", new_values."updated_at", new_values."user_id", new_values."version" FROM ( SELECT new_values.* FROM new_values  ) AS new_values, _pgh_attached_context; RETURN NULL;', hash='10b05cefb29e99db389634c967226a877169cb6b', level='STATEMENT', operation='INSERT', pgid='pgtrigger_created_insert_bf476', referencing='REFERENCING NEW TABLE AS new_values ', table='memory_logs', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='memorylog',
            trigger=pgtrigger.compiler.Trigger(name='updated', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."agent" IS DISTINCT FROM (NEW."agent") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."date" IS DISTINCT FROM (NEW."date") OR OLD."external_id" IS DISTINCT FROM (NEW."external_id") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."raw_data" IS DISTINCT FROM (NEW."raw_data") OR OLD."task" IS DISTINCT FROM (NEW."task") OR OLD."updated_at" IS DISTINCT FROM (NEW."updated_at") OR OLD."user_id" IS DISTINCT FROM (NEW."user_id") OR OLD."version" IS DISTINCT FROM (NEW."version"))', func='INSERT INTO "memory_versions" ("agent", "created_at", "date", "external_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "project_id", "raw_data", "task", "updated_at", "user_id", "version") VALUES (NEW."agent", NEW."created_at", NEW."date", NEW."external_id", statement_timestamp(), \'updated\', NEW."id", NEW."project_id", NEW."raw_data", NEW."task", NEW."updated_at", NEW."user_id", NEW."version"); RETURN NULL;', hash='3d7ca27d2a3c34e22d58f71a4465f3f6b69a732c', operation='UPDATE OF "user_id", "project_id", "task", "agent", "date", "raw_data", "external_id", "version", "created_at", "updated_at"', pgid='pgtrigger_updated_be3f3', table='memory_logs', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='memorylog',
            trigger=pgtrigger.compiler.Trigger(name='deleted_delete', sql=pgtrigger.compiler.UpsertTriggerSql(func='WITH _pgh_attached_context AS ( SELECT _pgh_attach_context() AS value ) INSERT INTO "memory_versions" ("agent", "created_at", "date", "external_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "project_id", "raw_data", "task", "updated_at", "user_id", "version") SELECT old_values."agent", old_values."created_at", old_values."date", old_values."external_id", statement_timestamp(), \'deleted\', old_values."id", old_values."project_id", old_values."raw_data", old_values."task", old_values."updated_at", old_values."user_id", old_values."version" FROM ( SELECT old_values.* FROM old_values  ) AS old_values, _pgh_attached_context; RETURN NULL;', hash='95d58e3c55685083b87f605ea66dbf3b42e48412', level='STATEMENT', operation='DELETE', pgid='pgtrigger_deleted_delete_5bd4f', referencing='REFERENCING OLD TABLE AS old_values ', table='memory_logs', when='AFTER')),
        ),
        migrations.AddField(
            model_name='memoryversion',
            name='pgh_obj',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='memories.memorylog'),
        ),
        migrations.AddField(
            model_name='turnkey',
            name='conversation',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='keys', to='memories.conversation'),
        ),
        migrations.AddConstraint(
            model_name='bufferedturn',
            constraint=models.UniqueConstraint(fields=('conversation', 'seq'), name='conversation_turns_number'),
        ),
        migrations.AddConstraint(
            model_name='conversationchunk',
            constraint=models.UniqueConstraint(fields=('conversation', 'number'), name='conversation_chunks_number'),
        ),
        migrations.AddIndex(
            model_name='memoryversion',
            index=models.Index(fields=['pgh_obj', 'pgh_id'], name='memory_versions_memory'),
        ),
        migrations.AddIndex(
            model_name='memoryversion',
            index=models.Index(fields=['user_id', 'project_id', '-pgh_obj'], name='memory_versions_tenant'),
        ),
        migrations.AddConstraint(
            model_name='turnkey',
            constraint=models.UniqueConstraint(fields=('conversation', 'key'), name='conversation_keys_once'),
        ),
        migrations.CreateModel(
            name='Erasure',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('user_id', models.TextField()),
                ('project_id', models.TextField(blank=True, default='', help_text='empty: all projects of the user')),
                ('memory_log_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), blank=True, default=list, size=None)),
                ('conversation_ids', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), blank=True, default=list, size=None)),
                ('api_keys', models.BooleanField(default=False, help_text='delete the API keys of the user or project, too')),
                ('requested_by', models.TextField(help_text='the prefix of an API key, a user of the admin, or an account')),
                ('status', models.TextField(choices=[('pending', 'Pending'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed')], db_default='pending', default='pending')),
                ('step', models.TextField(blank=True, default='', help_text='the step that runs, or ran last')),
                ('position', models.JSONField(blank=True, default=dict, help_text='how far the step has come')),
                ('rounds', models.PositiveIntegerField(default=0, help_text='how often all steps were run')),
                ('counts', models.JSONField(blank=True, default=dict, help_text='what was removed, by store')),
                ('found', models.JSONField(blank=True, default=dict, help_text='what the last verification still found')),
                ('waits_for', models.TextField(blank=True, default='', help_text='the dependency that is away, and why')),
                ('verified', models.BooleanField(default=False)),
                ('through_id', models.BigIntegerField(editable=False, help_text='the newest memory at the request: later ones stay')),
                ('through_collection', models.BigIntegerField(editable=False, help_text='the newest collection when PostgreSQL held nothing of it any more: later ones stay', null=True)),
                ('requested_at', models.DateTimeField(db_default=memories.models.base.StatementTime(), help_text='what was stored before is erased; what came later stays')),
                ('began_at', models.DateTimeField(blank=True, null=True)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'db_table': 'erasures',
                'ordering': ('-id',),
                'indexes': [models.Index(fields=['user_id', 'project_id', '-id'], name='erasures_tenant')],
            },
        ),
        migrations.CreateModel(
            name='BulkDeletion',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('user_id', models.TextField(blank=True, default='', help_text='empty: all users')),
                ('project_id', models.TextField(blank=True, default='', help_text='empty: all projects')),
                ('filters', models.JSONField(help_text='in the language of filters; {} without conditions, and when it is done')),
                ('through_id', models.BigIntegerField(help_text='memories with a larger id came later and stay')),
                ('total', models.PositiveIntegerField(help_text='how many matched when it was requested')),
                ('deleted', models.PositiveIntegerField(default=0)),
                ('status', models.TextField(choices=[('pending', 'Pending'), ('running', 'Running'), ('done', 'Done')], default='pending')),
                ('requested_at', models.DateTimeField(db_default=memories.models.base.StatementTime())),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'db_table': 'bulk_deletions',
                'ordering': ('-id',),
            },
        ),
        migrations.AddIndex(
            model_name='memoryversion',
            index=models.Index(condition=models.Q(('pgh_label', 'deleted')), fields=['pgh_created_at'], name='memory_versions_deleted'),
        ),
        migrations.RunSQL(CREATE, DROP),
        *(migrations.RunSQL(sql, reverse) for sql, reverse in planner_statistics.none_of(WORDS)),
    ]
