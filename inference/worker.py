"""A GPU worker: it claims runs from a control plane, woken by a broker's hints or by the clock.

    python -m inference.worker --control-plane https://… --token … --queue gpu.std

Without a broker it asks every few seconds; with one it is the Celery application of this file, and
a message only says that there is work in a queue. The task blocks while this worker is busy, so
that further hints go to workers that are not; the one that it has already fetched is made up for
by the others' polls. `worker_disable_prefetch` would avoid that, but it naps for up to a second
after each task.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_shutdown, worker_shutting_down

from inference.runner import Runner, Settings

log = logging.getLogger("inference.worker")
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


def parser() -> argparse.ArgumentParser:
    """Describe the command line; what is left out comes from the environment."""
    described, _, _ = (__doc__ or "").partition("Without a broker")
    made = argparse.ArgumentParser(prog="python -m inference.worker", description=described)
    told = os.environ.get
    made.add_argument("--control-plane", metavar="URL", default=told("KINORA_CONTROL_URL"))
    made.add_argument(
        "--token", default=told("KINORA_WORKER_TOKEN"),
        help="as `manage.py worker` shows it; better in KINORA_WORKER_TOKEN, which `ps` hides",
    )  # fmt: skip
    made.add_argument("--name", default=told("KINORA_WORKER_NAME") or socket.gethostname())
    made.add_argument("--queue", default=told("KINORA_WORKER_QUEUE") or "gpu.std")
    made.add_argument(
        "--preload", default=told("KINORA_WORKER_PRELOAD", ""), metavar="SLUGS",
        help="models to load before the first claim, by commas",
    )  # fmt: skip
    made.add_argument(
        "--weights", default=told("KINORA_WEIGHTS"), metavar="FOLDERS",
        help="folders of adopted models, by colons",
    )  # fmt: skip
    made.add_argument(
        "--plan", choices=("auto", "eager", "templates", "graphs", "fp8"),
        default=told("KINORA_WORKER_PLAN") or "auto", help="what networks run on",
    )  # fmt: skip
    made.add_argument(
        "--devices", type=int, default=int(told("KINORA_WORKER_DEVICES") or 1), metavar="N",
        help="of this machine, for releases that spread a run over several",
    )  # fmt: skip
    made.add_argument("--poll", type=float, default=2.0, metavar="SECONDS", help="without a broker")
    made.add_argument("--broker", default=told("KINORA_BROKER_URL"), metavar="URL")
    return made


def main(arguments: Sequence[str]) -> None:
    """Serve until told to stop; with a broker this process becomes Celery's."""
    described = parser()
    told = described.parse_args(arguments)
    if not told.control_plane or not told.token:
        described.error("a worker needs --control-plane and --token")
    if not told.control_plane.startswith(("http://", "https://")):
        described.error(f"--control-plane is not an HTTP address: {told.control_plane}")
    os.environ.update(environment(told))
    if told.broker:
        options = ["-P", "threads", "-c", "1", "--without-gossip", "--without-mingle", "-l", "INFO"]
        celery = [sys.executable, "-m", "celery", "-A", "inference.worker", "worker"]
        os.execv(sys.executable, [*celery, "-Q", told.queue, *options])  # noqa: S606 - no shell
    poll(Settings.from_environment())


def environment(told: argparse.Namespace) -> dict[str, str]:
    """Say in variables what the command line said, for this process and its child."""
    said = {
        "KINORA_CONTROL_URL": told.control_plane,
        "KINORA_WORKER_TOKEN": told.token,
        "KINORA_WORKER_NAME": told.name,
        "KINORA_WORKER_QUEUE": told.queue,
        "KINORA_WORKER_PRELOAD": told.preload,
        "KINORA_WORKER_PLAN": told.plan,
        "KINORA_WORKER_DEVICES": str(told.devices),
        "KINORA_WORKER_POLL_SECONDS": str(told.poll),
        "KINORA_WEIGHTS": told.weights,
        "KINORA_BROKER_URL": told.broker,
    }
    return {name: value for name, value in said.items() if value is not None}


def poll(settings: Settings) -> None:
    """Claim every few seconds until a signal says to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    runner = Runner(settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: runner.stop())
    log.info("%s serves %s of %s", settings.name, settings.queue, settings.url)
    runner.start()
    while runner.thread.is_alive():
        runner.join(0.25)


if __name__ == "__main__":
    main(sys.argv[1:])
