from django.db import migrations, models

from echo.models import new_epoch


def renew_epoch(apps, schema_editor):
    """Reset all readers: without the marks of deleted topics nobody knows who missed what."""
    for log in apps.get_model('echo', 'Log').objects.all():
        if log.deleted_public_number or log.deleted_staff_number or log.deleted_user_number:
            log.epoch = new_epoch()
            log.save(update_fields=['epoch'])


class Migration(migrations.Migration):

    dependencies = [
        ('echo', '0002_connections_and_nodes'),
    ]

    operations = [
        migrations.AddField(
            model_name='log',
            name='deleted_public_number',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='log',
            name='deleted_staff_number',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='log',
            name='deleted_user_number',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='log',
            name='last_sent_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name='topic',
            index=models.Index(fields=['kept', 'pruned_number'], name='topic_kept_pruned'),
        ),
        migrations.AddIndex(
            model_name='topic',
            index=models.Index(fields=['pruned_number'], name='topic_pruned_number'),
        ),
        migrations.AddIndex(
            model_name='topic',
            index=models.Index(condition=models.Q(('retention_seconds__isnull', False), ('retention_events__isnull', False), _connector='OR'), fields=['name'], name='topic_own_retention'),
        ),
        migrations.RunPython(migrations.RunPython.noop, renew_epoch),
    ]
