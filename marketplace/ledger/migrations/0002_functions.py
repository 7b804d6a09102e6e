"""Install the SQL functions and guards of this room."""

from typing import ClassVar

from django.db import migrations

from marketplace.sql import install


class Migration(migrations.Migration):
    dependencies: ClassVar = [("ledger", "0001_initial")]
    operations: ClassVar = [install("ledger/guards.sql"), install("ledger/hold.sql"), install("ledger/capture.sql"), install("ledger/transfer.sql"), install("ledger/refund.sql")]
