"""The processes that compute a model's forwards along with this one, each on a device of its own.

Started when a model that asks for several devices is loaded, one such model at a time: `python -m
inference.followers <rank> <degree> <device> <folder> <family> <meeting>`. They hold its denoisers
and nothing else. One that dies fails the run in hand; the model then leaves, and the next run of it
starts new ones.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch
import torch.distributed as dist

from inference import devices, models
from inference.models import folder as folders
from inference.models.family import Family
from inference.process import die_with_parent
from inference.ulysses import Leader, follow, spread

log = logging.getLogger("inference.followers")
MEETING_SECONDS = 300.0  # loading included
LAST_SECONDS = 5.0  # after a follower's death, for a call that never comes back


class Lost(RuntimeError):
    """A process that computed along is gone, and the call with it."""


class Followers:
    """All but the first of the devices that one model is spread over."""

    def __init__(self, family: str, folder: Path, device: str, degree: int) -> None:
        """Start them; they load meanwhile.  degree: devices in all."""
        self.device, self.degree = device, degree
        self.place = Path(tempfile.mkdtemp(prefix="kinora-followers-"))
        self.lost, self.ended = False, Event()
        meeting = self.place / "meeting"
        command = [sys.executable, "-m", "inference.followers"]
        told = [str(degree), device, str(folder), family, str(meeting)]
        self.processes = [
            subprocess.Popen([*command, str(rank), *told]) for rank in range(1, degree)
        ]
        for process in self.processes:
            Thread(target=self.watch, args=(process,), daemon=True).start()

    def lead(self, networks: list[Any]) -> None:
        """Meet them and have every call of these networks computed together.  Raises Lost."""
        try:
            meet(0, self.degree, self.device, self.place / "meeting")
            for place, network in enumerate(networks):
                spread(network, self.degree)
                network.forward = self.guarded(Leader(network.forward, self.device, str(place)))
        except RuntimeError as error:
            self.end()
            raise Lost(f"no meeting of {self.degree} processes: {error}") from error

    def guarded(self, leader: Leader) -> Any:
        """Give a leader's call, which tells apart what was lost from what is wrong."""

        def call(**given: Any) -> Any:
            if self.lost:
                raise Lost("a process that computes along is gone")
            try:
                return leader(**given)
            except RuntimeError as error:
                self.lost = True
                raise Lost(f"a process that computes along is gone: {error}") from error

        return call

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """Notice a death.  On a GPU a call of the others would wait for it for ever."""
        process.wait()
        if self.ended.is_set():
            return
        log.error("a follower died with %s", process.returncode)
        self.lost = True
        if self.device != "cpu" and not self.ended.wait(LAST_SECONDS):
            os._exit(1)  # the worker tells the run as lost, and starts this process anew

    def end(self) -> None:
        """Let them go."""
        self.ended.set()
        for process in self.processes:
            process.kill()
            process.wait()
        if dist.is_initialized():
            dist.destroy_process_group()
        shutil.rmtree(self.place, ignore_errors=True)


def meet(rank: int, degree: int, device: str, meeting: Path) -> None:
    """Wait for all processes of one model."""
    kind = "gloo" if device == "cpu" else "nccl"
    if device != "cpu":
        torch.cuda.set_device(rank)
    waiting = timedelta(seconds=MEETING_SECONDS)
    dist.init_process_group(
        kind, f"file://{meeting}", rank=rank, world_size=degree, timeout=waiting
    )


def main() -> None:
    """Load a model's denoisers, meet the leader, compute along until it goes."""
    die_with_parent()
    rank, degree, (device, folder, family, meeting) = *map(int, sys.argv[1:3]), sys.argv[3:]
    logging.basicConfig(level=logging.INFO)
    own = device if device == "cpu" else f"{device}:{rank}"
    devices.settle(own)
    kind = models.find(family)
    if not issubclass(kind, Family):
        raise TypeError(f"{family} reads no diffusers folder")
    networks = folders.denoisers(Path(folder), kind.PARTS, own, Family.dtype_on(own))
    meet(rank, degree, device, Path(meeting))
    for network in networks:
        spread(network, degree)
    follow({str(place): network for place, network in enumerate(networks)}, own)


if __name__ == "__main__":
    main()
