from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("accounts", "0002_time_zone")]

    operations = [
        migrations.AddField(
            model_name="member",
            name="chosen_at",
            field=models.DateTimeField(
                help_text="last, to act for this team on pages", null=True
            ),
        ),
    ]
