"""The whole stack on one machine, from an empty folder to a served, paid-for picture.

Order: lock the folder, servers, migrate and seed, web and lab, workers, the main job.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.backends.postgresql.base import DatabaseWrapper

from marketplace.embedded import paper, roster, seed
from marketplace.embedded.confinement import dying_with_parent
from marketplace.embedded.supervisor import Supervisor

PATIENCE_SECONDS = 20
INTERRUPTED = 130  # as a shell says it: the main job was not done
Say = Callable[[str], None]


class CannotStart(RuntimeError):
    """Something outside stands in the way; the message says what to change."""


def up(*, say: Say, demo: bool, once: bool) -> int:
    """Serve until Ctrl-C, or until the main job is done where `once`. Gives the exit status."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    with locked(settings.DATA):
        check_port(settings.PORT)
        supervisor = Supervisor(settings.DATA, say)
        try:
            bring_up(supervisor, say)
            say(f"ready at {settings.SITE_URL} after {time.monotonic() - began:.1f} s")
            return serve(supervisor, say, demo=demo, once=once)
        except KeyboardInterrupt:
            say("stopping")
            return INTERRUPTED if once else 0
        finally:
            supervisor.stop()
            forget_sockets(settings.SOCKETS)
            say("stopped; nothing is left running")


def forget_sockets(folder: Path) -> None:
    """Leave nothing of killed processes there: it may lie outside the data folder."""
    for bell in folder.glob("*.bell"):
        bell.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def bring_up(supervisor: Supervisor, say: Say) -> None:
    """All stages, each when the one before it answers."""
    (settings.DATA / "demo.json").unlink(missing_ok=True)
    servers = roster.servers()
    supervisor.start(*servers)
    supervisor.wait(*(program.name for program in servers))
    say(f"data in {settings.DATA}")
    check_database()
    call_command("migrate", verbosity=0, interactive=False)
    people = seed.seed()
    connection.close()
    cast(DatabaseWrapper, connection).close_pool()  # this process has no more questions
    supervisor.start(*roster.front(rehearsal_port()))
    supervisor.start(*roster.workers())
    supervisor.wait("web", "rehearsal")
    seed.write_down(*people)  # whoever waits for this file finds a stack that serves


def serve(supervisor: Supervisor, say: Say, *, demo: bool, once: bool) -> int:
    """Do the main job, then serve on unless `once`."""
    status = 0
    if demo or once:
        status = main_job(supervisor)
    if not once:
        key = seed.secret_path("demo_key").read_text()
        say(paper.way_in(settings.SITE_URL, key, settings.DATA))
        supervisor.watch(lambda: False)
    return status


def main_job(supervisor: Supervisor) -> int:
    """`manage.py demo` in a process of its own, so that tending goes on meanwhile."""
    job = subprocess.Popen(
        [*dying_with_parent(), sys.executable, "manage.py", "demo"],
        env=roster.marketplace_environment(),
        cwd=settings.ROOT,
        process_group=0,  # Ctrl-C is for the supervisor, which ends it
    )
    try:
        supervisor.watch(lambda: job.poll() is not None)
    finally:
        job.kill()
        job.wait()
    return job.returncode


def rehearsal_port() -> int | None:
    """A free port for the rehearsal lab, told to all by its URL; None where it is elsewhere."""
    if os.environ.get("KINORA_REHEARSAL_URL"):
        return None
    port = free_port()
    os.environ["KINORA_REHEARSAL_URL"] = f"http://127.0.0.1:{port}"
    return port


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def check_database() -> None:
    """An external database has to be there; the embedded one has answered already."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return connection.ensure_connection()
        except OperationalError as error:
            if time.monotonic() > until:
                raise CannotStart(f"The database does not answer: {error}") from None
            time.sleep(1)


def check_port(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        raise CannotStart(f"Port {port} is taken. Choose another with PORT=.") from None


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the data folder for one supervisor. The lock ends with the process, however it ends."""
    data.mkdir(parents=True, exist_ok=True, mode=0o711)  # the servers' account passes through
    path = data / "lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"A stack runs on {data} already. Choose another folder with DATA=."
            raise CannotStart(message) from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
