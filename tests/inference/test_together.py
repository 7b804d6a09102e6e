"""A worker with several runs in hand: each has its own lease, progress, cancel, files and end."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator

import pytest

from inference import media
from inference.models.contract import walk
from inference.models.glyph import Glyph
from inference.runner import Runner, Settings
from tests.inference.plane import Plane

BASE = {"size": 32, "guidance": 3, "count": 1, "negative_prompt": ""}
LONG = {"prompt": "tomato", "steps": 50, "count": 4}


@pytest.fixture(scope="module")
def trio(shared_plane: Plane) -> Iterator[Runner]:
    """A worker that takes three runs at once."""
    shared_plane.failing.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KINORA_WORKER_RUNS", "3")
        runner = Runner(Settings(shared_plane.url, "secret", "trio", poll_seconds=600))
        runner.start()
        runner.wake()
    yield runner
    runner.stop()
    runner.join(10)


def alone(glyph: Glyph, **inputs: object) -> bytes:
    work = glyph.prepare(BASE | inputs)
    for _ in walk(glyph.denoise(work)):
        pass
    return media.png(glyph.decode(work)[0])


def test_three_runs_share_the_device_and_each_draws_what_it_would_alone(
    plane: Plane, trio: Runner, glyph: Glyph
) -> None:
    asked = {
        f"run_tri_{number}": {"prompt": prompt, "seed": number, "steps": steps, "size": 32}
        for number, (prompt, steps) in enumerate([("star", 20), ("tomato", 14), ("dog face", 17)])
    }
    for run, inputs in asked.items():
        plane.add(run, inputs)
    began = time.monotonic()
    trio.wake()
    ends = {run: plane.completed(run) for run in asked}
    wall = time.monotonic() - began
    assert {end["state"] for end in ends.values()} == {"succeeded"}
    for run, inputs in asked.items():
        want = alone(glyph, **inputs)
        assert plane.files[f"/up/{run}/0"] == want
        assert ends[run]["outputs"][0]["sha256"] == hashlib.sha256(want).hexdigest()
        assert ends[run]["usage"]["steps"] == inputs["steps"]
        assert any(step["preview"] for step in plane.steps(run))
    claims = [item["at"] for item in plane.said["claim"] if item["worker"] == "trio"]
    assert sum(began < at < min(end["at"] for end in ends.values()) for at in claims) >= 3
    seconds = [end["usage"]["gpu_seconds"] for end in ends.values()]
    assert min(seconds) > 0
    assert sum(seconds) < wall  # nobody paid for waiting


def test_beside_runs_in_hand_only_loaded_models_are_asked_for(plane: Plane, trio: Runner) -> None:
    plane.said["claim"].clear()
    plane.add("run_three_only", {"prompt": "star", "steps": 12})
    trio.wake()
    plane.completed("run_three_only")
    told = [item["resident_only"] for item in plane.said["claim"] if item["worker"] == "trio"]
    assert told[:2] == [False, True]


def test_cancelling_one_leaves_the_others(plane: Plane, trio: Runner) -> None:
    plane.add("run_three_stays", {"prompt": "star", "steps": 12})
    plane.add("run_three_goes", LONG)
    plane.cancelled.add("run_three_goes")
    trio.wake()
    gone = plane.completed("run_three_goes")
    assert (gone["state"], gone["outputs"]) == ("cancelled", [])
    assert gone["usage"]["steps"] < 50
    assert plane.completed("run_three_stays")["state"] == "succeeded"


def test_time_is_up_for_one_alone(plane: Plane, trio: Runner) -> None:
    plane.add("run_three_late", LONG, timeout_seconds=0.2)
    plane.add("run_three_timely", {"prompt": "star", "steps": 8})
    trio.wake()
    assert plane.completed("run_three_late")["error"]["code"] == "timeout"
    assert plane.completed("run_three_timely")["state"] == "succeeded"


def test_a_lost_fence_silences_one_alone(plane: Plane, trio: Runner) -> None:
    plane.fenced.add("run_three_fenced")
    plane.add("run_three_fenced", LONG)
    plane.add("run_three_ours", {"prompt": "star", "steps": 8})
    trio.wake()
    assert plane.completed("run_three_ours")["state"] == "succeeded"
    assert [i for i in plane.said["complete"] if i["run"] == "run_three_fenced"] == []


def test_an_unknown_model_fails_alone(plane: Plane, trio: Runner) -> None:
    plane.add("run_three_known", {"prompt": "star", "steps": 8})
    plane.add("run_three_unknown", {"prompt": "x"}, target="absent")
    trio.wake()
    assert plane.completed("run_three_unknown")["error"]["code"] == "unknown_model"
    assert plane.completed("run_three_known")["state"] == "succeeded"


def test_a_killed_child_loses_all_that_were_in_hand(plane: Plane, trio: Runner) -> None:
    names = [f"run_three_lost_{number}" for number in range(3)]
    for name in names:
        plane.add(name, LONG)
    plane.add("run_three_after", {"prompt": "star", "steps": 4})
    assert trio.device.child
    victim = trio.device.child.process.pid
    trio.asked += 1
    for name in names:
        plane.wait(lambda name=name: any(step["step"] > 0 for step in plane.steps(name)))
    os.kill(victim, signal.SIGKILL)
    for name in names:
        end = plane.completed(name)
        assert (end["state"], end["error"]["code"]) == ("lost", "worker_lost")
    assert plane.completed("run_three_after")["state"] == "succeeded"
