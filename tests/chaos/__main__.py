"""Kill one process after another of a running stack and check that every cent is where it belongs.

Example: python -m tests.chaos --seed 7 --runs 20
Each round submits runs as a retrying client, kills its victim by SIGKILL at an instant drawn from
the seed, waits until the stack serves again and all runs have ended, and asks the invariants.
Ends with status 1 if any is broken, if nothing was killed, or if a bar is missed.
"""

import argparse
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg

from marketplace import ids
from tests.chaos.client import Api, Wish, follow_all, submit_all, wishes
from tests.chaos.hooks import bring_along, untold
from tests.chaos.invariants import first_claim, redispatch, violations
from tests.receiver import Receiver, receiving
from tests.running import Stack, running_stack

VICTIMS = ["postgres", "redis", "web", "supplier", "chores", "inference", "inference child"]
STILL = {"model": "rehearsal/still", "inputs": {"prompt": "still there?"}}
# Those that claim runs are killed while they have one, and serve again once they claim another.
CLAIMS = {"supplier": "labs", "inference": "cpu.std", "inference child": "cpu.std"}
SERVES_SECONDS = {"postgres": 5.0}  # others: 15
REDISPATCH_SECONDS = 20.0


@dataclass
class Round:
    """What one kill cost. serving, again: seconds; broken: sentences with rows."""

    victim: str
    serving: float
    again: float
    interrupted: int
    broken: list[str]

    @property
    def late(self) -> bool:
        return self.serving > SERVES_SECONDS.get(self.victim, 15) or (
            self.again > REDISPATCH_SECONDS
        )

    def row(self) -> str:
        verdict = "BROKEN" if self.broken else "late" if self.late else "ok"
        return (
            f"| {self.victim} | {self.serving:.1f} | {self.interrupted} | {self.again:.1f}"
            f" | {verdict} |"
        )


def child_of(pid: int) -> int:
    """The process that owns the model: the worker's spawned child."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for task in Path(f"/proc/{pid}/task").iterdir():
        children += (task / "children").read_text().split()
    own = [c for c in children if b"inference.child" in Path(f"/proc/{c}/cmdline").read_bytes()]
    return int(own[0])


def find(stack: Stack, victim: str) -> int:
    if victim == "inference child":
        return child_of(stack.pids()["inference"])
    return stack.pids()[victim]


def asks(stack: Stack, api: Api, victim: str) -> Callable[[], bool]:
    """The question of a client: was a run that I sent after the kill admitted and begun?"""
    before = find(stack, victim)
    wish = Wish(STILL)

    def answers() -> bool:
        if wish.run is None:
            if replaced(stack, victim, before):
                api.submit(wish)
            return False
        api.look(wish)
        return wish.state != "queued"

    return answers


def at_work(stack: Stack, queue: str | None) -> bool:
    """Whether a run of `queue` is running; None asks nothing."""
    sql = "SELECT 1 FROM runs_run WHERE queue = %s AND state = 'running' LIMIT 1"
    with psycopg.connect(stack.conninfo) as connection:
        return queue is None or connection.execute(sql, [queue]).fetchone() is not None


def replaced(stack: Stack, victim: str, before: int) -> bool:
    try:
        return find(stack, victim) != before
    except (KeyError, IndexError, OSError):
        return False


def play(stack: Stack, receiver: Receiver, victim: str, runs: int, draw: random.Random) -> Round:
    """One round: runs under way, one kill, quiet, questions."""
    api = Api(stack.url, stack.key)
    wanted = wishes(draw, runs, own=4 if victim in CLAIMS else 7)
    bring_along(receiver, wanted, draw)
    faults: list[BaseException] = []
    sender = threading.Thread(target=guarded, args=(faults, api, wanted))
    sender.start()
    time.sleep(draw.uniform(0.2, 2.5))
    while not at_work(stack, CLAIMS.get(victim)) and sender.is_alive():
        time.sleep(0.02)
    question = asks(stack, api, victim)
    killed_at = time.time()
    os.kill(find(stack, victim), signal.SIGKILL)
    while not question():
        if time.time() - killed_at > 60:
            faults.append(RuntimeError(f"{victim} did not come back in 60 s"))
            break
        time.sleep(0.05)
    serving = time.time() - killed_at
    sender.join()
    broken = [f"the client: {fault}" for fault in faults]
    return judged(stack, receiver, victim, wanted, killed_at, serving, broken)


def guarded(faults: list[BaseException], api: Api, wanted: list[Wish]) -> None:
    try:
        submit_all(api, wanted, seconds=60)
        follow_all(api, wanted, seconds=150)
    except RuntimeError as fault:
        faults.append(fault)


def judged(
    stack: Stack,
    receiver: Receiver,
    victim: str,
    wanted: list[Wish],
    killed_at: float,
    serving: float,
    broken: list[str],
) -> Round:
    quiet(stack)
    with psycopg.connect(stack.conninfo, autocommit=True) as connection:
        broken += violations(connection, [str(uuid_of(w)) for w in wanted if w.run])
        broken += untold(connection, receiver, wanted)
        again, interrupted = redispatch(connection, killed_at)
        if victim in CLAIMS:
            serving = first_claim(connection, CLAIMS[victim], killed_at)
            if not interrupted:
                broken.append("the kill interrupted nothing, so it showed nothing")
    return Round(victim, serving, again, interrupted, broken)


def quiet(stack: Stack, seconds: float = 60) -> None:
    """Wait until no run is queued or running; the probes' own runs count too."""
    until = time.monotonic() + seconds
    with psycopg.connect(stack.conninfo, autocommit=True) as connection:
        while time.monotonic() < until:
            row = connection.execute("SELECT 1 FROM runs_run WHERE finished_at IS NULL LIMIT 1")
            if row.fetchone() is None:
                return
            time.sleep(0.2)


def uuid_of(wish: Wish) -> UUID:
    found = ids.private("run", wish.run or "")
    assert found is not None, f"{wish.run} is not a run's id"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--runs", type=int, default=20, help="under way at each kill")
    parser.add_argument("--rounds", type=int, default=1, help="kills of each victim")
    parser.add_argument("--victim", choices=VICTIMS, action="append", help="only these")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    say(f"seed {options.seed}\n\n| killed | serves again, s | runs interrupted |"
        " claimed again, s | verdict |\n|---|---:|---:|---:|---|")  # fmt: skip
    rounds = []
    calm = {"KINORA_WRITES_PER_SECOND": "0", "KINORA_READS_PER_SECOND": "0"}
    with (
        receiving() as receiver,
        running_stack(KINORA_ALLOW_LOOPBACK_WEBHOOKS="1", **calm) as stack,
    ):
        for victim in (options.victim or VICTIMS) * options.rounds:
            done = play(stack, receiver, victim, options.runs, draw)
            say(done.row())
            for sentence in done.broken:
                say(f"  {sentence}")
            rounds.append(done)
    return 1 if any(done.broken or done.late for done in rounds) else 0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
