from django.db import migrations

from outbox.wakeup import CREATE_TRIGGER


class Migration(migrations.Migration):

    dependencies = [("outbox", "0006_outages")]

    # The trigger says from when on the new events are.
    operations = [migrations.RunSQL(CREATE_TRIGGER, migrations.RunSQL.noop)]
