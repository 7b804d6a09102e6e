"""The embedded PostgreSQL survives what people and machines do to it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from marketplace.embedded.postgres import Postgres
from marketplace.embedded.supervisor import Supervisor


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Postgres:
    return Postgres(tmp_path_factory.mktemp("postgres"), "it's a secret")


@pytest.fixture
def supervisor(postgres: Postgres) -> Iterator[Supervisor]:
    """Serves the module's one cluster."""
    supervisor = Supervisor(postgres.data, say=print)
    supervisor.start(postgres.program())
    supervisor.wait("postgres")
    yield supervisor
    supervisor.stop()


def kill(supervisor: Supervisor) -> int:
    """SIGKILL the server as the out-of-memory killer would."""
    pid = supervisor.processes[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def test_a_killed_server_serves_again_with_all_that_was_committed(
    postgres: Postgres, supervisor: Supervisor
) -> None:
    with postgres.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    killed = kill(supervisor)
    supervisor.wait("postgres", seconds=30)
    assert supervisor.processes[0].pid != killed
    with postgres.connect() as connection:
        assert connection.execute("SELECT count(*), sum(n) FROM kept").fetchone() == (1000, 500500)


def test_a_wrong_password_is_refused(postgres: Postgres, supervisor: Supervisor) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        Postgres(postgres.data, "wrong").connect()


def test_the_superuser_has_no_way_in(postgres: Postgres, supervisor: Supervisor) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg.connect(host=str(postgres.sockets), user="postgres", dbname="postgres")


def test_the_role_is_no_superuser(postgres: Postgres, supervisor: Supervisor) -> None:
    with postgres.connect() as connection:
        role = "SELECT rolsuper, rolcreaterole, rolreplication FROM pg_roles WHERE rolname = %s"
        assert connection.execute(role, ["kinora"]).fetchone() == (False, False, False)


def test_it_listens_on_its_socket_alone(postgres: Postgres, supervisor: Supervisor) -> None:
    with postgres.connect() as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    assert postgres.sockets.stat().st_mode & 0o777 == 0o700


def test_a_lock_that_names_a_living_stranger_does_not_block_a_start(
    postgres: Postgres, supervisor: Supervisor
) -> None:
    supervisor.stop()
    stale = f"{os.getpid()}\n{postgres.cluster}\n1\n5432\n{postgres.sockets}\n\n"
    (postgres.cluster / "postmaster.pid").write_text(stale)
    (postgres.sockets / ".s.PGSQL.5432.lock").write_text(stale)
    supervisor.start(postgres.program())
    supervisor.wait("postgres", seconds=30)
    assert postgres.ready()


def test_a_server_that_outlived_its_supervisor_is_ended_first(
    postgres: Postgres, supervisor: Supervisor
) -> None:
    orphan = supervisor.processes[0].pid
    second = Supervisor(postgres.data, say=print)
    second.start(postgres.program())
    second.wait("postgres", seconds=30)
    assert second.processes[0].pid != orphan
    assert supervisor.processes[0].exited() == 0
    second.stop()


def test_an_interrupted_creation_is_begun_anew(tmp_path: Path) -> None:
    postgres = Postgres(tmp_path, "secret", durable=False)
    (postgres.home / "new").mkdir(parents=True)
    (postgres.home / "new" / "PG_VERSION").write_text("half of a cluster")
    supervisor = Supervisor(tmp_path, say=print)
    supervisor.start(postgres.program())
    supervisor.wait("postgres", seconds=60)
    supervisor.stop()
    assert not (postgres.home / "new").exists()
