"""The supplier as a process of its own, to be killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from tests.running import ROOT

COMMAND = ["-m", "celery", "-A", "marketplace.celery", "worker", "-P", "threads", "-c", "1"]
OPTIONS = ["-Q", "labs", "--without-gossip", "--without-mingle", "--loglevel=DEBUG"]


def database_url() -> str:
    """The test's own database, as the environment names one."""
    known = connection.settings_dict
    who = f"{quote(known['USER'])}:{quote(known['PASSWORD'])}"
    place = f"{quote(known['HOST'], safe='')}:{known['PORT']}"
    return f"postgresql://{who}@{place}/{known['NAME']}"


@contextmanager
def supplier_process(
    log: IO[bytes] | None = None, **environment: str
) -> Iterator["subprocess.Popen[bytes]"]:
    environ = os.environ | {
        "KINORA_DATABASE_URL": database_url(),
        "KINORA_BROKER_URL": settings.BROKER_URL,
        **environment,
    }
    command = [sys.executable, *COMMAND, *OPTIONS]
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
