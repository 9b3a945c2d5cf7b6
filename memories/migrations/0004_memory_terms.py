"""The terms of every memory, for the lexical ranking."""

from django.db import migrations

from memories.lexical.schema import CREATE, DROP


class Migration(migrations.Migration):
    dependencies = [("memories", "0003_versions")]
    operations = [migrations.RunSQL(CREATE, DROP)]
