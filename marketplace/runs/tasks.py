"""What Celery runs here: the hint that wakes the supplier, the beat's sweeps and its audit.

A worker that consumes `labs` is the supplier, one that consumes `chores` carries webhooks: their
loops start with the worker and end with it.
"""

from typing import Any
from uuid import UUID

from celery.signals import celeryd_after_setup, worker_shutdown, worker_shutting_down
from django.conf import settings

from marketplace.celery import CHORES, LABS, app
from marketplace.ledger import check
from marketplace.runs import forecast, refunds, sweep
from marketplace.runs.deliverer import Deliverer
from marketplace.runs.supplier import Supplier

suppliers: list[Supplier] = []
services: list[Supplier | Deliverer] = []


@celeryd_after_setup.connect
def begin(instance: Any, **_: Any) -> None:
    """Start the supplier where this worker takes its hints, and the courier beside the chores."""
    queues = instance.app.amqp.queues.consume_from
    if LABS in queues:
        suppliers.append(Supplier())
    services.extend(suppliers)
    if CHORES in queues:
        services.append(Deliverer())
    for service in services:
        service.start()


@worker_shutting_down.connect
def wind_down(**_: Any) -> None:
    """Claim no more, and hand back what does not end by itself in a moment."""
    for service in services:
        service.stop()


@worker_shutdown.connect
def end(**_: Any) -> None:
    for service in services:
        service.stop()
        service.join(settings.STOP_SECONDS)


@app.task(name="kinora.hint")
def hint(queue: str) -> None:
    """There is work in `queue`."""
    for supplier in suppliers:
        if supplier.queue == queue:
            supplier.wake()


@app.task(name="kinora.look")
def look(request: str) -> None:
    """Decode a run's files anew for whoever asks for a refund."""
    refunds.look(UUID(request))


@app.task(name="kinora.sweep_often")
def sweep_often() -> None:
    sweep.sweep(sweep.OFTEN)


@app.task(name="kinora.sweep_seldom")
def sweep_seldom() -> None:
    sweep.sweep(sweep.SELDOM)


@app.task(name="kinora.audit")
def audit() -> None:
    check.audit()


@app.task(name="kinora.forecast")
def forecast_runs() -> None:
    forecast.refresh()
