"""A worker against a control plane stand-in, with a real child process that owns the model."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from inference.control import Control, FenceLost, Refused, Unreachable
from inference.runner import Runner
from inference.wire import Job
from tests.inference.plane import Plane

LONG = {"prompt": "tomato", "steps": 50, "count": 4}


def test_run_is_claimed_drawn_uploaded_and_completed(plane: Plane, runner: Runner) -> None:
    plane.add("run_ok", {"prompt": "red heart", "count": 2, "seed": 3, "steps": 12})
    runner.wake()
    end = plane.completed("run_ok")
    assert end["state"] == "succeeded"
    assert end["error"] is None
    for output in end["outputs"]:
        content = plane.files[f"/up/run_ok/{output['index']}"]
        assert output["bytes"] == len(content)
        assert output["sha256"] == hashlib.sha256(content).hexdigest()
        assert Image.open(io.BytesIO(content)).size == (256, 256)
    assert end["usage"]["outputs"] == 2
    assert end["usage"]["steps"] == 12
    assert 0 < end["usage"]["gpu_seconds"] < 60
    assert plane.said["claim"][-1]["resident"] == ["glyph"]
    assert plane.tokens == {"Bearer secret"}


def test_previews_and_steps_are_reported(plane: Plane, runner: Runner) -> None:
    plane.add("run_seen", {"prompt": "star", "count": 4})
    runner.wake()
    plane.completed("run_seen")
    told = plane.steps("run_seen")
    assert [item["step"] for item in told] == sorted(item["step"] for item in told)
    preview = next(item["preview"] for item in told if item["preview"])
    kind, _, content = preview.partition(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (64, 64)
    moments = [item["at"] for item in plane.said["report"] if item["run"] == "run_seen"]
    gaps = [after - before for before, after in pairwise(moments)]
    assert min(gaps) > 0.08


def test_an_unusable_input_ends_by_its_field_and_is_not_tried_again(
    plane: Plane, runner: Runner
) -> None:
    plane.add("run_wrong", {"prompt": "star", "loras": [{"name": "of-nobody"}]})
    runner.wake()
    end = plane.completed("run_wrong")
    assert (end["state"], end["error"]["code"]) == ("failed", "invalid_input")
    assert end["error"]["retry"] is False
    assert end["error"]["message"].startswith("inputs.loras")


def test_cancel_is_obeyed_within_a_step_of_being_heard(plane: Plane, runner: Runner) -> None:
    plane.add("run_cancel", LONG)
    plane.cancelled.add("run_cancel")
    runner.wake()
    end = plane.completed("run_cancel")
    assert end["state"] == "cancelled"
    assert end["usage"]["steps"] <= 3
    assert end["outputs"] == []


def test_lost_fence_stops_the_work_silently(plane: Plane, runner: Runner) -> None:
    plane.fenced.add("run_fenced")
    plane.add("run_fenced", LONG)
    began = time.monotonic()
    runner.wake()
    assert time.monotonic() - began < 5
    assert [item for item in plane.said["complete"] if item["run"] == "run_fenced"] == []
    assert "/up/run_fenced/0" not in plane.files


def test_timeout_fails_the_run(plane: Plane, runner: Runner) -> None:
    plane.add("run_late", LONG, timeout_seconds=0.2)
    runner.wake()
    end = plane.completed("run_late")
    assert end["state"] == "failed"
    assert end["error"]["code"] == "timeout"


def test_unknown_model_fails_and_may_be_tried_elsewhere(plane: Plane, runner: Runner) -> None:
    plane.add("run_other", {"prompt": "x"}, target="absent")
    runner.wake()
    error = plane.completed("run_other")["error"]
    assert (error["code"], error["retry"]) == ("unknown_model", True)


def test_completion_waits_for_a_control_plane_that_restarts(plane: Plane, runner: Runner) -> None:
    plane.add("run_wait", {"prompt": "tomato", "steps": 4})
    plane.failing.update({"complete", "put"})
    runner.asked += 1
    plane.wait(lambda: plane.steps("run_wait"))
    time.sleep(1)
    plane.failing.clear()
    assert plane.completed("run_wait")["state"] == "succeeded"


def test_killed_child_loses_the_run_and_is_replaced(plane: Plane, runner: Runner) -> None:
    plane.add("run_killed", LONG)
    plane.add("run_next", {"prompt": "star", "steps": 4})
    assert runner.device.child
    victim = runner.device.child.process.pid
    runner.asked += 1
    plane.wait(lambda: plane.steps("run_killed"))
    os.kill(victim, signal.SIGKILL)
    end = plane.completed("run_killed")
    assert (end["state"], end["error"]["code"]) == ("lost", "worker_lost")
    assert end["error"]["retry"] is True
    assert plane.completed("run_next")["state"] == "succeeded"
    assert runner.device.child.process.pid != victim


SCRIPT = """
import sys, time
from inference.runner import Runner, Settings
runner = Runner(Settings(sys.argv[1], "t", "w2", preload="", poll_seconds=600))
runner.start()
runner.wake()
print(runner.device.child.process.pid, flush=True)
time.sleep(60)
"""


def gone(pid: int) -> bool:
    """Tell whether a process has ended (a zombie has)."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def test_killed_worker_leaves_no_orphan(plane: Plane) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, plane.url], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout
        child = int(worker.stdout.readline())
        assert not gone(child)
        worker.kill()
    end = time.monotonic() + 5
    while not gone(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert gone(child)


def test_answers_become_errors(plane: Plane) -> None:
    control = Control(plane.url, "secret")
    job = Job("run_x", 1, "r", "glyph", {})
    plane.fenced.add("run_x")
    with pytest.raises(FenceLost):
        control.renew(job)
    plane.failing.add("renew")
    with pytest.raises(Unreachable):
        control.renew(job)
    with pytest.raises(Unreachable):
        Control("http://127.0.0.1:9", "secret").renew(job)
    with pytest.raises(Refused):
        control.put("file:///etc/passwd", b"", "image/png")
