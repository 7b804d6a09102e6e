"""Install the SQL functions and guards of this room."""

from typing import ClassVar

from django.db import migrations

from marketplace.sql import install


class Migration(migrations.Migration):
    dependencies: ClassVar = [("metering", "0001_initial")]
    operations: ClassVar = [install("metering/guards.sql")]
