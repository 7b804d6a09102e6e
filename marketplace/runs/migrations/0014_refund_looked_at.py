from django.db import migrations, models

LOOKED = "UPDATE runs_refundrequest SET looked_at = created_at"


class Migration(migrations.Migration):

    dependencies = [("runs", "0013_sessions")]

    operations = [
        migrations.AddField(
            model_name="refundrequest",
            name="looked_at",
            field=models.DateTimeField(
                help_text="none: the files are being decoded anew", null=True
            ),
        ),
        migrations.RunSQL(LOOKED, migrations.RunSQL.noop),
    ]
