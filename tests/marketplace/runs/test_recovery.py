"""The supplier as its own process: woken through the real broker, killed, replaced."""

from datetime import timedelta

import pytest
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.runs import sweep
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.lab import Lab
from tests.marketplace.processes import supplier_process
from tests.marketplace.supply import SMALL, admit, closed, ended, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("labs queue")]


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_run_whose_supplier_is_killed_is_finished_by_the_next_and_made_once(
    ada: Person, still: Release, lab: Lab, elsewhere: bool
) -> None:
    """On another machine the next one waits for the lease; on this one it sees who is dead."""
    with supplier_process(KINORA_REHEARSAL_URL=lab.url) as first:
        run_id = admit(ada, **SMALL | {"latency_ms": 1_000})
        until(lambda: Run.objects.filter(id=run_id, ticket__isnull=False).exists(), 60)
        first.kill()
        first.wait(10)
    assert Run.objects.get().state == "running"
    if elsewhere:
        Run.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert sweep.lapsed_leases() == 1
    with supplier_process(KINORA_REHEARSAL_URL=lab.url):
        until(lambda: Run.objects.filter(state="succeeded").exists(), 60)
    run = ended(run_id)
    assert (run.attempt, run.outputs.count()) == (2, 1)
    assert closed(run_id) == ("captured", 2_000_000)
    assert lab.stats() == {"posts": 1, "jobs": 1, "cancelled": 0}
