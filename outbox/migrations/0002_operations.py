import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from outbox import autovacuum


class Migration(migrations.Migration):

    dependencies = [
        ('outbox', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Intervention',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('action', models.TextField(choices=[('retried', 'Retried'), ('discarded', 'Discarded')])),
                ('by', models.TextField(help_text='who: a user of the admin, or the account that ran the command')),
                ('reason', models.TextField(blank=True, default='')),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('event', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='interventions', to='outbox.event')),
            ],
            options={
                'db_table': 'outbox_intervention',
                'ordering': ('id',),
            },
        ),
        migrations.RemoveIndex(
            model_name='event',
            name='outbox_event_dead',
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(condition=models.Q(('status__in', ('dead', 'discarded'))), fields=['status', 'type', 'id'], name='outbox_event_stopped'),
        ),
        migrations.AddIndex(
            model_name='failure',
            index=models.Index(fields=['at'], name='outbox_failure_at'),
        ),
        # Why these values: outbox/autovacuum.py. `outbox_doctor` compares the tables with them.
        *(
            migrations.RunSQL(autovacuum.set_statement(table), autovacuum.reset_statement(table))
            for table in autovacuum.SETTINGS
        ),
    ]
