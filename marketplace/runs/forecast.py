"""Fit, for every release that is priced by compute, how long its runs take. A chore of the beat.

Repeats safely: each release's prediction is replaced as a whole. Knows nothing of money.
"""

from dataclasses import asdict
from typing import Any

from django.utils import timezone

from marketplace.metering import predict
from marketplace.metering.models import Prediction
from marketplace.metering.sale import load_sale
from marketplace.runs.connections import rows

# Only runs that ended well: how long a failure took says nothing of a success.
PAST_SQL = """
    SELECT r.inputs, e.quantity::float8 AS seconds
      FROM (SELECT * FROM metering_meterevent
             WHERE release_id = %s AND unit::text LIKE 'gpu\\_second%%'
             ORDER BY id DESC LIMIT %s) e
      JOIN runs_run r ON r.id = e.run_id
     WHERE r.outcome = 'succeeded' ORDER BY e.id"""
COMPUTE = "gpu_second"
LOOKED_AT = predict.MOST * 2  # failures among them are left out


def refresh() -> int:
    """Fit every release anew that has enough runs; gives how many."""
    releases = {offer.release_id: offer for offer in load_sale().offers}
    fitted = 0
    for release_id, offer in releases.items():
        if any(unit.partition(":")[0] == COMPUTE for unit in offer.price.book.units):
            fitted += keep(release_id, offer.facts.published)
    return fitted


def keep(release_id: int, facts: Any) -> bool:
    """Store the fit of one release's runs; whether there were enough of them."""
    past = rows((PAST_SQL, [release_id, LOOKED_AT]))
    found = predict.fit([(row["inputs"], row["seconds"]) for row in past], facts)
    if found is None:
        return False
    said = asdict(found)
    told = {name: said.pop(name) for name in ("runs", "tested", "inside", "error")}
    Prediction.objects.update_or_create(
        release_id=release_id, defaults={"fit": said, "fitted_at": timezone.now(), **told}
    )
    return True
