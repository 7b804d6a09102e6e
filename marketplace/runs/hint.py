"""Tell a queue's workers that a run waits, or a refund. Losing a hint costs a moment, never a run.

Any process may publish; a broker that is away is noted in the log and the sweep hints again.
"""

import logging
from functools import cache
from typing import Any
from uuid import UUID

from kombu import Connection
from kombu.exceptions import KombuError
from kombu.pools import ProducerPool, producers

from marketplace.celery import CHORES, app

log = logging.getLogger(__name__)

TASK, LOOK = "kinora.hint", "kinora.look"
ONCE_MORE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
BOUNDED = ONCE_MORE | {"socket_connect_timeout": 1, "socket_timeout": 1}
SECONDS = 1.0


def publish(queue: str) -> bool:
    """Send one hint to `queue` and say whether it went out."""
    return send(TASK, queue, queue)


def look(request: UUID) -> bool:
    """Have the chores look at the files of a refund's request; whether they were told."""
    return send(LOOK, str(request), CHORES)


def send(task: str, argument: str, queue: str) -> bool:
    """A broker that is away costs about a second and raises nothing."""
    try:
        with pool().acquire(block=True, timeout=SECONDS) as producer:
            app.send_task(
                task,
                args=[argument],
                queue=queue,
                producer=producer,
                ignore_result=True,
                retry=True,
                retry_policy=ONCE_MORE,
            )
    except (KombuError, OSError) as error:
        log.warning("no %s for %s: %s", task, queue, error)
        return False
    return True


@cache
def pool() -> ProducerPool:
    """Producers of this process, with time limits that a worker's own connection must not have."""
    options: dict[str, Any] = app.conf.broker_transport_options | BOUNDED
    url = app.connection_for_write().as_uri(include_password=True)
    found: ProducerPool = producers[
        Connection(url, transport_options=options, connect_timeout=SECONDS)
    ]
    return found
