from django.db import migrations

# What waits now says nothing about what waits in a minute. From statistics taken while all was delivered the planner
# concludes that nothing waits, and then any index looks as good as the right one, also before a hundred thousand
# events. Without statistics it takes what waits for a small part of the table, and each query finds its own index.
WITHOUT = "ALTER TABLE outbox_event ALTER COLUMN status SET STATISTICS 0"
WITH = "ALTER TABLE outbox_event ALTER COLUMN status SET STATISTICS -1"


class Migration(migrations.Migration):

    dependencies = [("outbox", "0004_recorded_stream")]

    operations = [migrations.RunSQL(WITHOUT, WITH)]
