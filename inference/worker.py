"""Celery application of a GPU worker: a hint wakes the runner.

    celery -A inference.worker worker -P threads -c 1 -Q cpu.std --without-gossip --without-mingle

A message only says that there is work in a queue; the run is claimed from the control plane. The
task blocks while this worker is busy, so that further hints go to workers that are not; the one
that it has already fetched is made up for by the others' polls. `worker_disable_prefetch` would
avoid that, but it naps for up to a second after each task.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_shutdown, worker_shutting_down

from inference.runner import Runner, Settings

STOP_SECONDS = 4.8

app = Celery("inference", broker=os.environ.get("KINORA_BROKER_URL", "redis://127.0.0.1:6379/0"))
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    task_default_queue=os.environ.get("KINORA_WORKER_QUEUE", "cpu.std"),
    worker_prefetch_multiplier=1,
    task_acks_late=False,
    broker_connection_retry=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_enable_remote_control=True,
    worker_hijack_root_logger=False,
)

runners: list[Runner] = []


@worker_init.connect
def begin(**_: Any) -> None:
    """Start the child and claim once, before and whether or not the broker answers."""
    runner = Runner(Settings.from_environment())
    runners.append(runner)
    runner.start()


@worker_shutting_down.connect
def wind_down(**_: Any) -> None:
    """Claim no more."""
    for runner in runners:
        runner.stop()


@worker_shutdown.connect
def end(**_: Any) -> None:
    """Leave once the run in hand has ended or was handed back."""
    for runner in runners:
        runner.stop()
        runner.join(STOP_SECONDS)


@app.task(name="kinora.hint")
def hint(queue: str) -> None:
    """Claim and run until the queue is empty."""
    for runner in runners:
        runner.wake()
