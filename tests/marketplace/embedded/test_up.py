"""`manage.py up` as people run it: two folders, one folder twice, Ctrl-C, kill -9."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from marketplace.embedded import places
from tests.running import ROOT, Stack, running_stack

PATIENCE_SECONDS = 90


def start(**settings: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py up` where it has to refuse."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("KINORA_")}
    return subprocess.run(
        [sys.executable, "manage.py", "up", "--no-demo"],
        cwd=ROOT,
        env=plain | settings,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def status(stack: Stack, key: str) -> int:
    """What a call with `key` gets."""
    call = urllib.request.Request(f"{stack.url}/api/v1/balance")
    call.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(call, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def living(stack: Stack, pids: list[int]) -> list[str]:
    """What lives of `pids`, and whatever names the stack's folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            named = str(stack.data).encode() in words + (folder / "environ").read_bytes()
        except OSError:
            continue
        if words and (named or int(folder.name) in pids):  # a zombie has no command line
            found.append(words.replace(b"\0", b" ").decode())
    return found


def assert_nothing_left(stack: Stack, pids: list[int]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while (left := living(stack, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []


def test_a_second_start_on_the_same_folder_is_refused(stack: Stack) -> None:
    refused = start(KINORA_DATA=str(stack.data), KINORA_PORT="1")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"CommandError: A stack runs on {stack.data} already. Choose another folder with DATA=.\n"
    )
    assert status(stack, stack.key) == 200


def test_a_taken_port_is_named(stack: Stack, tmp_path: Path) -> None:
    port = stack.url.rpartition(":")[2]
    refused = start(KINORA_DATA=str(tmp_path), KINORA_PORT=port)
    assert refused.returncode == 1
    said = f"CommandError: Port {port} is taken. Choose another with PORT=.\n"
    assert refused.stderr == said


def test_two_stacks_serve_side_by_side_and_ctrl_c_leaves_nothing(stack: Stack) -> None:
    with running_stack() as other:
        pids = list(other.pids().values())
        assert status(stack, stack.key) == status(other, other.key) == 200
        assert status(stack, other.key) == status(other, stack.key) == 401
        os.kill(other.pids()["up"], signal.SIGINT)
        assert_nothing_left(other, pids)
        assert not (other.data / "lock").exists()
        assert not (other.data / "processes.json").exists()
        assert not places.sockets(other.data).exists()
    assert status(stack, stack.key) == 200


def test_nothing_outlives_a_killed_supervisor_and_the_folder_serves_again() -> None:
    with running_stack() as killed:
        pids = list(killed.pids().values())
        os.kill(killed.pids()["up"], signal.SIGKILL)
        assert_nothing_left(killed, pids)
        with running_stack(data=killed.data) as again:
            assert status(again, again.key) == 200
            assert again.key == killed.key


def test_a_worker_machine_is_told_no_secret_of_the_marketplace(stack: Stack) -> None:
    told = Path(f"/proc/{stack.pids()['inference']}/environ").read_bytes().decode()
    names = {line.partition("=")[0] for line in told.split("\0") if line}
    assert "KINORA_WORKER_TOKEN" in names
    assert not [name for name in names if "DJANGO" in name or "DATABASE" in name]
    assert (stack.data / "secrets" / "kinora_database_password").read_text() not in told
    assert (stack.data / "secrets" / "kinora_secret_key").read_text() not in told


@pytest.mark.parametrize("name", ["demo.json", "secrets/demo_key", "secrets/kinora_secret_key"])
def test_secrets_are_for_their_owner_alone(stack: Stack, name: str) -> None:
    assert (stack.data / name).stat().st_mode & 0o777 == 0o600
