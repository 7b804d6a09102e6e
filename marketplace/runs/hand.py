"""Hand a run's inputs to whoever executes it: files as signed addresses, good for a while."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from marketplace.media import sign
from marketplace.metering.file_inputs import replaced
from marketplace.runs.settle import Case

SPARE = timedelta(hours=1)


def handed(case: Case) -> dict[str, Any]:
    """The inputs of one attempt. All attempts of a run get the same addresses, so that a lab which
    compares what is sent under one key sees one job."""
    if not case.files:
        return dict(case.inputs)
    longest = timedelta(seconds=case.timeout_seconds * settings.MAX_ATTEMPTS)
    until = (case.started_at or datetime.now(UTC)) + longest + SPARE
    addresses = {place: sign.path_url(path, until) for place, path in case.files.items()}
    return replaced(case.inputs, addresses)
