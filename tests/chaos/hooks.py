"""What somebody's server must have been told when the dust has settled: every end, under one id."""

import random
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler

import psycopg

from tests.chaos.client import Wish
from tests.receiver import Manner, Receiver, answering, closing

HURRY = """
    UPDATE webhooks_delivery SET next_at = now()
     WHERE state = 'pending' AND next_at > now() + interval '3 s'"""
WAITING = "SELECT count(*) FROM webhooks_delivery WHERE state = 'pending'"
UNTOLD = """
    SELECT r.id::text FROM runs_run r
     WHERE r.finished_at IS NOT NULL AND r.webhooks <> '[]'
       AND NOT EXISTS (SELECT 1 FROM webhooks_delivery d
                        WHERE d.run_id = r.id AND d.state = 'delivered')"""


def bring_along(receiver: Receiver, wanted: list[Wish], draw: random.Random) -> None:
    """Each run names an address of its own, where one call in five goes wrong."""
    for wish in wanted:
        wish.body["webhook"] = receiver.url(f"/{wish.key}")
        receiver.manners[f"/{wish.key}"] = clumsy(draw.randrange(10**6))


def clumsy(seed: int) -> Manner:
    dice = random.Random(seed)

    def manner(handler: BaseHTTPRequestHandler) -> None:
        dice.choices([answering(204), answering(500), closing], [8, 1, 1])[0](handler)

    return manner


def untold(
    connection: psycopg.Connection, receiver: Receiver, wanted: list[Wish], seconds: float = 60
) -> list[str]:
    """Each broken sentence, once nothing waits or patience ends."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection.execute(HURRY)
        waiting = connection.execute(WAITING).fetchone()
        if waiting == (0,) and not connection.execute(UNTOLD).fetchone():
            break
        time.sleep(0.5)
    found = [f"an end was not delivered: {row[0]}" for row in connection.execute(UNTOLD)]
    ids, bodies = defaultdict(set), defaultdict(set)
    for got in list(receiver.received):
        ids[got.path].add(got.id)
        bodies[got.path].add(got.body)
    for wish in wanted:
        path = f"/{wish.key}"
        if len(ids[path]) != 1 or len(bodies[path]) != 1:
            found.append(f"{wish.run} was told under {len(ids[path])} ids, not one")
    return found
