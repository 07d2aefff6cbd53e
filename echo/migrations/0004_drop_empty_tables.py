from django.db import migrations


class Migration(migrations.Migration):
    """Drop what 0002 created until connections and nodes were models without a table."""

    dependencies = [
        ('echo', '0003_retention'),
    ]

    operations = [
        migrations.RunSQL('DROP TABLE IF EXISTS echo_connection', migrations.RunSQL.noop),
        migrations.RunSQL('DROP TABLE IF EXISTS echo_node', migrations.RunSQL.noop),
    ]
