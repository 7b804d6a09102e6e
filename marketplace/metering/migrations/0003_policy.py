"""Freeze the outcome matrix with the price version; older versions get their release's."""

import hashlib
import json
from datetime import UTC

from django.db import migrations, models

RENAMED = r"""
    UPDATE catalog_release SET outcome_policy =
        replace(outcome_policy::text, '"units"', '"delivered"')::jsonb
     WHERE outcome_policy::text LIKE '%"units"%';
    UPDATE catalog_release SET outcome_policy = outcome_policy || '{"cancelled_after": "until_cancel"}'
     WHERE outcome_policy ->> 'cancelled_after' = 'used'"""


def freeze(apps, schema_editor):
    """Give each version its matrix and seal it anew; the guard against edits stands aside."""
    price = apps.get_model("metering", "Price")
    if not price.objects.exists():
        return
    schema_editor.execute("ALTER TABLE metering_price DISABLE TRIGGER USER")
    for version in price.objects.select_related("release__model__lab"):
        model, policy = version.release.model, version.release.outcome_policy
        said = {
            "release": f"{model.lab.slug}/{model.slug}@{version.release.version}",
            "currency": version.currency,
            "segment": version.segment,
            "version": version.version,
            "lines": version.lines,
            "effective_from": version.effective_from.astimezone(UTC).isoformat(),
        } | ({"policy": policy} if policy else {})
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        price.objects.filter(pk=version.pk).update(policy=policy, digest=digest)
    schema_editor.execute("ALTER TABLE metering_price ENABLE TRIGGER USER")


class Migration(migrations.Migration):
    dependencies = [("metering", "0002_segments"), ("catalog", "0001_initial")]

    operations = [
        migrations.AddField(
            "price",
            "policy",
            models.JSONField(help_text="Outcome → what is charged.", default=dict),
        ),
        migrations.RunSQL(RENAMED, migrations.RunSQL.noop),
        migrations.RunPython(freeze, migrations.RunPython.noop),
    ]
