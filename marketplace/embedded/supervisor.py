"""The parent of all processes: starts them in stages, restarts what dies, ends them in order.

Single-threaded on purpose: a child dies with the thread that started it.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from marketplace.embedded.processes import Process, Program

TICK_SECONDS = 0.1
STAGE_SECONDS = 1.5  # three stages end within five seconds; a quick one leaves its rest
TROUBLED = 5  # crashes in a row while a start waits for readiness


class NotReady(RuntimeError):
    """A program did not come up."""


class Supervisor:
    """stages: processes in order of start; they end in the opposite order."""

    def __init__(self, data: Path, say: Callable[[str], None]) -> None:
        self.data = data
        self.say = say
        self.stages: list[list[Process]] = []

    @property
    def processes(self) -> list[Process]:
        return [process for stage in self.stages for process in stage]

    def start(self, *programs: Program) -> None:
        """Start one stage; `wait` tells when it is ready."""
        stage = [Process(program, self.data / "logs") for program in programs]
        self.stages.append(stage)
        for process in stage:
            process.start()
        self.write_down()

    def wait(self, *names: str, seconds: float = 60.0) -> None:
        """Wait until the named processes answer, tending all. Raises NotReady."""
        until = time.monotonic() + seconds
        waiting = [process for process in self.processes if process.name in names]
        while waiting := [p for p in waiting if p.popen is None or not p.program.ready()]:
            self.tend()
            for process in waiting:
                if process.crashes >= TROUBLED or time.monotonic() > until:
                    raise NotReady(f"{process.name} does not come up; see {self.log(process)}")
            time.sleep(TICK_SECONDS)

    def tend(self) -> None:
        """Note who died, and start again whose time has come."""
        changed = False
        for process in self.processes:
            if (status := process.exited()) is not None:
                delay = process.put_off()
                self.say(f"{process.name} ended ({meaning(status)}), again in {delay:.1f} s")
                changed = True
            elif process.popen is None and time.monotonic() >= process.due_at:
                self.start_again(process)
                changed = True
        if changed:
            self.write_down()

    def start_again(self, process: Process) -> None:
        """A start that fails, for want of disk or memory, is tried again like any other."""
        try:
            process.start()
        except (OSError, RuntimeError) as error:
            self.say(f"{process.name} cannot start ({error}), again in {process.put_off():.1f} s")
        else:
            self.say(f"{process.name} started again (pid {process.pid})")

    def watch(self, enough: Callable[[], bool]) -> None:
        """Tend the processes until `enough`."""
        while not enough():
            self.tend()
            time.sleep(TICK_SECONDS)

    def stop(self) -> None:
        """End everything, latest stage first; what does not end in time is killed."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, signal.SIG_IGN) for number in signals]
        until = time.monotonic()
        for stage in reversed(self.stages):
            until += STAGE_SECONDS
            end(stage, until)
        self.stages.clear()
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
        (self.data / "processes.json").unlink(missing_ok=True)

    def write_down(self) -> None:
        """Keep {name: pid} in processes.json, for people and for tests that kill."""
        pids = {process.name: process.pid for process in self.processes}
        new = self.data / "processes.json.new"
        with contextlib.suppress(OSError):  # a full disk must not end what still serves
            new.write_text(json.dumps({"up": os.getpid(), **pids}, indent=2) + "\n")
            new.rename(self.data / "processes.json")

    def log(self, process: Process) -> Path:
        return self.data / "logs" / f"{process.name}.log"


def end(stage: Iterable[Process], until: float) -> None:
    """Ask a stage to stop, and kill what remains at `until`, monotonic seconds."""
    for process in stage:
        process.ask_to_stop()
    while not gone(stage) and time.monotonic() < until:
        time.sleep(0.02)
    for process in stage:
        process.kill()
    while not gone(stage):
        time.sleep(0.02)


def gone(stage: Iterable[Process]) -> bool:
    for process in stage:
        process.exited()
    return all(process.popen is None for process in stage)


def meaning(status: int) -> str:
    """`status 1`, or the name of the signal."""
    return f"status {status}" if status >= 0 else signal.Signals(-status).name
