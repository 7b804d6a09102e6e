"""The Celery application of the control plane: hints to the supplier, chores, and the beat.

    celery -A marketplace.celery worker -P threads -c 1 -Q labs      the supplier
    celery -A marketplace.celery worker -P threads -c 1 -Q chores    sweeps and deliveries
    celery -A marketplace.celery beat

A message is a hint; PostgreSQL is the truth. So nothing here is retried, delayed or given results.
"""

import os
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.schedules import crontab

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

from django.conf import settings

CHORES = "chores"
LABS = "labs"
NIGHTLY = crontab(hour="3", minute="10")  # UTC
AFTER = crontab(hour="6", minute="10")  # when a month's last runs have long ended


def every(seconds: float, task: str) -> dict[str, Any]:
    """A beat entry. A message that nobody took before the next one is due is thrown away."""
    options = {"queue": CHORES, "expires": seconds}
    return {"task": task, "schedule": timedelta(seconds=seconds), "options": options}


TASKS = ["marketplace.runs.tasks", "marketplace.payouts.tasks"]
app = Celery("kinora", broker=settings.BROKER_URL, include=TASKS)
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    task_default_queue=CHORES,
    task_acks_late=False,
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={} if settings.EMBEDDED_BROKER else {"confirm_publish": True},
    beat_max_loop_interval=2,
    beat_schedule={
        "often": every(2, "kinora.sweep_often"),
        "seldom": every(10, "kinora.sweep_seldom"),
        "audit": {"task": "kinora.audit", "schedule": NIGHTLY, "options": {"queue": CHORES}},
        "months": {"task": "kinora.close_months", "schedule": AFTER, "options": {"queue": CHORES}},
        "forecast": every(600, "kinora.forecast"),
    },
)
