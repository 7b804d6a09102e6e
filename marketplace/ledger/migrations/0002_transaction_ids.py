"""Which transaction closed a hold and wrote a transfer, so that folds miss and repeat nothing."""

import django.db.models.deletion
from django.db import migrations, models

import marketplace.ledger.models

# What was closed before is as good as closed now.
STAMP = """UPDATE ledger_hold SET closed_xid = pg_current_xact_id() WHERE closed_at IS NOT NULL"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="transfer",
            name="xid",
            field=marketplace.ledger.models.TransactionId(
                db_default=marketplace.ledger.models.PresentTransaction(), editable=False
            ),
        ),
        migrations.AddField(
            model_name="hold",
            name="closed_xid",
            field=marketplace.ledger.models.TransactionId(null=True, editable=False),
        ),
        migrations.AlterField(
            model_name="hold",
            name="team",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, to="accounts.team"
            ),
        ),
        migrations.RunSQL(STAMP, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="transfer",
            index=models.Index(
                condition=models.Q(("kind", "refund")),
                fields=["xid"],
                name="transfer_refunds_by_xid",
            ),
        ),
        migrations.AddIndex(
            model_name="hold",
            index=models.Index(
                condition=models.Q(("closed_xid__isnull", False)),
                fields=["closed_xid", "team"],
                name="hold_closed_by_xid",
            ),
        ),
    ]
