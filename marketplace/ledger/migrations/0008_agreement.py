"""Charges, refunds and costs keep which version of a lab's agreement they follow."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ledger", "0007_fewer_indexes")]

    operations = [
        migrations.AddField(
            model_name="transfer",
            name="agreement_id",
            field=models.BigIntegerField(null=True),
        )
    ]
