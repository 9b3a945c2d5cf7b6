from django.db import migrations, models

# Readers of the stream sleep until something was recorded.
CREATE_TRIGGER = """
CREATE OR REPLACE FUNCTION outbox_recorded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM inserted WHERE status = 'delivered') THEN
        PERFORM pg_notify('outbox_recorded', '');
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER outbox_recorded AFTER INSERT ON outbox_event
REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION outbox_recorded();
"""
DROP_TRIGGER = """
DROP TRIGGER IF EXISTS outbox_recorded ON outbox_event;
DROP FUNCTION IF EXISTS outbox_recorded;
"""


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
        migrations.RunSQL(CREATE_TRIGGER, DROP_TRIGGER),
    ]
