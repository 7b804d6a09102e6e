from django.db import migrations, models

# Alerts of before say that the present limit was crossed, or the one that there was last.
FILL = """
UPDATE access_budgetalert a SET amount = coalesce(b.amount, 0)
  FROM access_spending s JOIN access_budget b ON b.id = s.budget_id WHERE s.id = a.spending_id
"""


class Migration(migrations.Migration):

    dependencies = [("access", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="budgetalert",
            name="amount",
            field=models.BigIntegerField(
                default=0, help_text="nano-units; the limit that was crossed"
            ),
            preserve_default=False,
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.RemoveConstraint(model_name="budgetalert", name="alert_once_per_crossing"),
        migrations.AddConstraint(
            model_name="budgetalert",
            constraint=models.UniqueConstraint(
                fields=["spending", "cause", "percent", "amount"],
                name="alert_once_per_crossing",
            ),
        ),
    ]
