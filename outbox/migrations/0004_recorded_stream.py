from django.db import migrations, models

from outbox.wakeup import CREATE_RECORDED_TRIGGER, DROP_RECORDED_TRIGGER


class Migration(migrations.Migration):

    dependencies = [("outbox", "0003_dead_of_aggregate")]

    operations = [
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                fields=["xact_id", "id"],
                condition=models.Q(status="delivered", attempts=0),
                name="outbox_event_recorded",
            ),
        ),
        migrations.RunSQL(CREATE_RECORDED_TRIGGER, DROP_RECORDED_TRIGGER),
    ]
