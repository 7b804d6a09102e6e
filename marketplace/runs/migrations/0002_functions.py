"""Install the SQL functions and guards of this room."""

from typing import ClassVar

from django.db import migrations

from marketplace.sql import install


class Migration(migrations.Migration):
    dependencies: ClassVar = [("runs", "0001_initial"), ("ledger", "0002_functions")]
    operations: ClassVar = [install("runs/submit.sql"), install("runs/claim.sql"), install("runs/settle.sql")]
