"""Prices by segment, each sealed with a digest; those that are published are of the list."""

import hashlib
import json
from datetime import UTC

from django.db import migrations, models


def seal(apps, schema_editor):
    """Seal the versions that are there. The guard that forbids edits stands aside for this one."""
    price = apps.get_model("metering", "Price")
    if not price.objects.exists():
        return
    schema_editor.execute("ALTER TABLE metering_price DISABLE TRIGGER USER")
    for version in price.objects.select_related("release__model__lab"):
        model = version.release.model
        said = {
            "release": f"{model.lab.slug}/{model.slug}@{version.release.version}",
            "currency": version.currency,
            "segment": "list",
            "version": version.version,
            "lines": version.lines,
            "effective_from": version.effective_from.astimezone(UTC).isoformat(),
        }
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        price.objects.filter(pk=version.pk).update(digest=digest)
    schema_editor.execute("ALTER TABLE metering_price ENABLE TRIGGER USER")


class Migration(migrations.Migration):

    dependencies = [
        ("metering", "0001_initial"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="price", name="price_version_once"),
        migrations.AddField(
            model_name="price",
            name="segment",
            field=models.CharField(
                default="list", help_text="list, team:<uuid>, window:<id>", max_length=60
            ),
        ),
        migrations.AddField(
            model_name="price",
            name="digest",
            field=models.CharField(
                default="", help_text="hex SHA-256 of what it says", max_length=64
            ),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.UniqueConstraint(
                fields=("release", "currency", "segment", "version"), name="price_version_once"
            ),
        ),
        migrations.RunPython(seal, migrations.RunPython.noop),
    ]
