"""A worker that is asked to stop hands its run back within five seconds."""

from __future__ import annotations

import time

from inference.runner import Runner, Settings
from tests.inference.plane import Plane


def test_stopping_worker_hands_its_run_back(plane: Plane) -> None:
    plane.add("run_back", {"prompt": "tomato", "steps": 50, "count": 4}, timeout_seconds=600)
    runner = Runner(Settings(plane.url, "secret", "w3", poll_seconds=600))
    runner.start()
    plane.wait(lambda: any(item["step"] > 0 for item in plane.steps("run_back")))
    began = time.monotonic()
    runner.stop()
    runner.join(10)
    assert time.monotonic() - began < 5
    end = plane.completed("run_back", 1)
    assert end["state"] in {"lost", "succeeded"}
    if end["state"] == "lost":
        assert end["error"]["code"] == "worker_stopped"
    assert runner.device.child is None
