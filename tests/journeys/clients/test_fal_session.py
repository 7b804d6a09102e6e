"""Realtime sessions with fal's own clients, against the whole stack and through its crashes."""

import asyncio
import io
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from fal_client import AsyncClient, SyncClient
from fal_client.client import FalClientHTTPError, RealtimeError
from PIL import Image

from tests.journeys.clients.test_fal_python import GLYPH, SMALL, calling, redirect
from tests.running import Stack

SESSIONS = """
SELECT r.state, r.outcome, h.state, h.captured, h.amount, u.quantity,
       (SELECT count(*) FROM ledger_transfer t WHERE t.run_id = r.id AND t.kind = 'charge')
  FROM runs_run r JOIN ledger_hold h ON h.run_id = r.id
  JOIN metering_price p ON p.id = r.price_id AND p.segment = 'session'
  LEFT JOIN metering_meterevent u ON u.run_id = r.id
 ORDER BY r.id DESC LIMIT %s
"""


@pytest.fixture
def fal(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncClient]:
    redirect(monkeypatch, stack.url)
    with calling(stack.key) as client:
        yield client


def sat(stack: Stack, count: int = 1, seconds: float = 40) -> list[Any]:
    """The newest sessions, once all have ended, each captured once for its seconds."""
    until = time.monotonic() + seconds
    while True:
        with psycopg.connect(stack.conninfo) as link:
            found = link.execute(SESSIONS, [count]).fetchall()
        if found and all(row[2] != "open" for row in found):
            break
        assert time.monotonic() < until, found
        time.sleep(0.1)
    for row in found:
        _, _, state, captured, held, quantity, charges = row
        assert (state, charges) == ("captured", 1)
        assert captured == min(held, round(quantity * 100_000))
    return found


def sound(stack: Stack) -> None:
    """No account holds anything, and none is overdrawn."""
    with psycopg.connect(stack.conninfo) as link:
        open_holds = "SELECT count(*) FROM ledger_hold WHERE state = 'open'"
        assert link.execute(open_holds).fetchone() == (0,)
        held = "SELECT count(*) FROM ledger_account WHERE held <> 0"
        assert link.execute(held).fetchone() == (0,)


def ask_on(session: Any) -> None:
    while True:
        session.send(SMALL)
        session.recv()


def test_a_session_of_many_prompts_is_one_run(fal: SyncClient, stack: Stack) -> None:
    with fal.realtime(GLYPH) as session:
        frames = []
        for prompt in ("tomato", "red heart", "tomato"):
            session.send({**SMALL, "prompt": prompt, "seed": 5})
            frames.append(session.recv() or {})
    assert len({frame["request_id"] for frame in frames}) == 1
    contents = [frame["images"][0]["content"] for frame in frames]
    assert contents[0] == contents[2] != contents[1]
    assert Image.open(io.BytesIO(contents[1])).size == (64, 64)
    assert frames[0]["session"]["seconds"] < frames[2]["session"]["seconds"]
    [[state, outcome, *_]] = sat(stack)
    assert (state, outcome) == ("succeeded", "succeeded")
    sound(stack)


def test_two_sessions_of_the_async_client_at_once(fal: SyncClient, stack: Stack) -> None:
    async def talk() -> list[str]:
        client = AsyncClient(key=stack.key)
        try:
            async with client.realtime(GLYPH) as one, client.realtime(GLYPH) as two:
                for session in (one, two, one):
                    await session.send(SMALL)
                told = [await session.recv() or {} for session in (one, two, one)]
                return [frame["request_id"] for frame in told]
        finally:
            await (await client._client).aclose()

    first, second, third = asyncio.run(talk())
    assert first == third != second
    assert len(sat(stack, 2)) == 2
    sound(stack)


def test_a_session_whose_worker_is_killed_is_told_and_paid_until_then(
    fal: SyncClient, stack: Stack
) -> None:
    with fal.realtime(GLYPH) as session:
        session.send(SMALL)
        assert session.recv()
        os.kill(stack.pids()["inference"], signal.SIGKILL)
        with pytest.raises(RealtimeError, match="The worker was lost"):
            ask_on(session)
    [[state, outcome, *_]] = sat(stack)
    assert (state, outcome) == ("succeeded", "partial")
    sound(stack)


def test_a_session_whose_web_process_is_killed_is_swept_and_paid_as_witnessed(
    fal: SyncClient, stack: Stack
) -> None:
    with fal.realtime(GLYPH) as session:
        session.send(SMALL)
        assert session.recv()
        time.sleep(1)  # so that a tick has witnessed it
        os.kill(stack.pids()["web"], signal.SIGKILL)
        with pytest.raises(RealtimeError, match="CONNECTION_CLOSED"):
            session.recv()
    [[state, outcome, *_]] = sat(stack)
    assert (state, outcome) == ("succeeded", "partial")
    sound(stack)
    with fal.realtime(GLYPH) as session:  # and the next one goes as ever
        session.send(SMALL)
        assert (session.recv() or {})["images"]
    sat(stack)


def test_a_session_says_when_its_cap_is_used_up(fal: SyncClient, stack: Stack) -> None:
    with fal.realtime(GLYPH) as session:
        session.send({**SMALL, "max_cost": "0.00015"})
        with pytest.raises(RealtimeError, match=r"used up\. It lasted 1\.5 s") as fault:
            ask_on(session)
    assert fault.value.error == "COST_ABOVE_LIMIT"
    assert fault.value.payload["session"]["cost"]["nano"] == 150_000
    [[*_, captured, held, _, _]] = sat(stack)
    assert captured == held == 150_000


def test_another_teams_token_pays_for_its_own_team(stack: Stack, fal: SyncClient) -> None:
    with calling(stack.other_key) as other, other.realtime(GLYPH) as session:
        session.send(SMALL)
        run = (session.recv() or {})["request_id"]
    with pytest.raises(FalClientHTTPError, match="no request run_"):
        fal.result(GLYPH, run)
    with calling("kin_live_wrong") as nobody:
        session = nobody.realtime(GLYPH)
        with pytest.raises(FalClientHTTPError, match="checksum is wrong"):
            session.__enter__()
    sat(stack)
