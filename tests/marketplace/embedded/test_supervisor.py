"""The supervisor starts, restarts and ends programs; here they are small shell scripts."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from marketplace.embedded import processes
from marketplace.embedded.processes import Process, Program
from marketplace.embedded.redis import RedisServer
from marketplace.embedded.supervisor import NotReady, Supervisor
from tests.running import gone


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path, say=said.append)
    yield supervisor
    supervisor.stop()


def shell(name: str, script: str) -> Program:
    return Program(name, lambda: ["sh", "-c", script])


def test_what_dies_is_started_again_and_said(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start(shell("sleeper", "exec sleep 1000"))
    process = supervisor.processes[0]
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    supervisor.watch(lambda: process.pid not in (None, first))
    assert said == [
        "sleeper ended (SIGKILL), again in 0.1 s",
        f"sleeper started again (pid {process.pid})",
    ]
    written = json.loads((supervisor.data / "processes.json").read_text())
    assert written == {"up": os.getpid(), "sleeper": process.pid}


def test_the_delay_doubles_up_to_a_limit_and_starts_over_after_a_steady_time() -> None:
    process = Process(shell("any", ""), Path())
    process.started_at = 1e12  # in the future: it has not been up for long
    delays = [process.put_off() for _ in range(9)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    process.started_at = -1e12
    assert process.put_off() == 0.1


def test_a_program_that_never_comes_up_is_named_with_its_log(supervisor: Supervisor) -> None:
    script = shell("broken", "echo no such thing; exit 3")
    supervisor.start(replace(script, ready=lambda: False))
    with pytest.raises(NotReady, match=r"broken does not come up; see .*/logs/broken\.log"):
        supervisor.wait("broken", seconds=30)
    log = (supervisor.data / "logs" / "broken.log").read_text()
    assert set(log.splitlines()) == {"no such thing"}


def test_later_stages_end_first(supervisor: Supervisor, tmp_path: Path) -> None:
    script = (
        "trap 'echo {0} >> {1}/order; exit 0' TERM; touch {1}/{0}; while :; do sleep 0.05; done"
    )
    for name in ("server", "web", "worker"):
        supervisor.start(shell(name, script.format(name, tmp_path)))
        supervisor.watch((tmp_path / name).exists)
    supervisor.stop()
    assert (tmp_path / "order").read_text().split() == ["worker", "web", "server"]
    assert not (tmp_path / "processes.json").exists()


def test_what_ignores_its_signal_is_killed_with_its_children(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    child = f"sh -c 'echo $$ > {tmp_path}/child; exec sleep 1000' & wait"
    supervisor.start(shell("stubborn", f"trap '' TERM; {child}"))
    supervisor.watch(
        lambda: bool((tmp_path / "child").exists() and (tmp_path / "child").read_text())
    )
    pids = [supervisor.processes[0].pid, int((tmp_path / "child").read_text())]
    supervisor.stop()
    assert gone(*pids)


def test_a_child_left_by_a_crashed_program_is_killed_before_the_restart(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    script = f"sh -c 'echo $$ >> {tmp_path}/children; exec sleep 1000' & sleep 1000"
    supervisor.start(shell("parent", script))
    children = tmp_path / "children"
    supervisor.watch(lambda: children.exists() and bool(children.read_text()))
    process = supervisor.processes[0]
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    supervisor.watch(lambda: process.pid not in (None, first))
    assert gone(int(children.read_text().split()[0]))


def test_a_large_log_is_put_aside_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 10)
    (tmp_path / "chatty.log").write_text("more than ten bytes")
    with Process(shell("chatty", ""), tmp_path).open_log() as log:
        log.write(b"new")
    assert (tmp_path / "chatty.log").read_text() == "new"
    assert (tmp_path / "chatty.log.1").read_text() == "more than ten bytes"


def test_a_killed_redis_serves_again(supervisor: Supervisor) -> None:
    redis = RedisServer(supervisor.data)
    supervisor.start(redis.program())
    supervisor.wait("redis")
    pid = supervisor.processes[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    supervisor.watch(lambda: supervisor.processes[0].pid not in (None, pid))
    supervisor.wait("redis")
    assert redis.ready()


def test_a_start_that_fails_is_tried_again(supervisor: Supervisor, said: list[str]) -> None:
    obstacles = [OSError("no space left"), None]

    def prepare() -> None:
        if supervisor.processes and obstacles and (obstacle := obstacles.pop(0)):
            raise obstacle

    supervisor.start(shell("first", "exec sleep 1000"))
    process = supervisor.processes[0]
    process.program = replace(process.program, prepare=prepare)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    supervisor.watch(lambda: len(said) == 3)
    assert said == [
        "first ended (SIGKILL), again in 0.1 s",
        "first cannot start (no space left), again in 0.2 s",
        f"first started again (pid {process.pid})",
    ]
