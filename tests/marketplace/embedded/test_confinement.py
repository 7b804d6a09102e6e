"""Servers never run as root, reach what they need with the least, and die with their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from marketplace.embedded import confinement
from marketplace.embedded.confinement import CannotConfine, confined, own
from tests.running import gone

SHELL = Path("/bin/sh")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="asks what root's servers run as")


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    """A folder that only root may enter, with one inside for the servers."""
    tmp_path.chmod(0o700)
    return own(tmp_path / "server")


def under(prefix: list[str], script: str) -> str:
    done = subprocess.run([*prefix, "sh", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@as_root
def test_a_server_of_root_runs_as_nobody_and_writes_its_own_folder(hidden: Path) -> None:
    prefix = confined(SHELL, hidden)
    script = f"id -u; id -G; echo written > {hidden}/file; cat {hidden}/file"
    assert under(prefix, script).split() == ["65534", "65534", "written"]


@as_root
def test_it_gets_no_capability_where_it_needs_none() -> None:
    assert confinement.unprivileged(SHELL, Path("/tmp"))[-1] == "--clear-groups"  # noqa: S108


@as_root
def test_it_gets_one_to_pass_a_folder_that_only_root_may_enter(hidden: Path) -> None:
    held = under(confined(SHELL, hidden), "grep CapEff /proc/self/status").split()[1]
    assert int(held, 16) in (1 << 2, 1 << 1)  # dac_read_search, or dac_override in containers


@as_root
def test_what_cannot_be_reached_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotConfine, match="Choose another folder with DATA="):
        confined(tmp_path / "no-such-program", tmp_path)


def test_it_dies_with_the_process_that_started_it(hidden: Path) -> None:
    starter = f"""
import subprocess, sys
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
from marketplace.embedded.confinement import confined
child = subprocess.Popen([*confined(Path({str(SHELL)!r}), Path({str(hidden)!r})), "sleep", "1000"])
print(child.pid, flush=True)
child.wait()
"""
    parent = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
    while not Path(f"/proc/{child}/cmdline").read_text().startswith("sleep"):  # still setpriv
        time.sleep(0.02)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert gone(child)
