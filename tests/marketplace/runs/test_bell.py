"""Ringing: whoever is here hears it, nobody waits, and what killed processes left is removed."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings
from pytest_django import Settings

from marketplace.embedded.up import forget_sockets
from marketplace.hot.database import Database
from marketplace.hot.hints import Hints
from marketplace.runs.bell import Bell, Ringer, bells


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Path:
    settings.SOCKETS = tmp_path_factory.mktemp("b")
    return Path(settings.SOCKETS)


@pytest.fixture
def ringer() -> Iterator[Ringer]:
    found = Ringer()
    yield found
    found.close()


async def heard(ringer: Ringer, *queues: str, at: str = "labs") -> int:
    """How often one at a queue hears of several rings, and that nothing is left of its bell."""
    times = 0

    def count() -> None:
        nonlocal times
        times += 1

    bell = Bell(at, count)
    bell.hang()
    for queue in queues:
        ringer.ring(queue)
        await asyncio.sleep(0.01)
    bell.take_down()
    return times


def test_who_is_at_the_queue_hears_and_others_do_not(ringer: Ringer) -> None:
    assert asyncio.run(heard(ringer, "labs", "gpu.std", "labs")) == 2
    assert bells("labs") == []


def test_nobody_hears_where_no_bell_hangs(ringer: Ringer) -> None:
    assert not ringer.ring("labs")


def test_the_bell_of_a_killed_process_is_taken_down_by_who_rings(ringer: Ringer) -> None:
    left = Path(settings.SOCKETS) / "labs-1.bell"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(left))
    assert bells("labs") == [left]
    assert not ringer.ring("labs")
    assert bells("labs") == []


def test_one_that_does_not_listen_for_a_while_is_rung_without_waiting(ringer: Ringer) -> None:
    async def story() -> list[bool]:
        bell = Bell("labs", lambda: None)
        bell.hang()
        rings = [ringer.ring("labs") for _ in range(1000)]  # its kernel keeps a few of them
        bell.take_down()
        return rings

    assert all(asyncio.run(story()))


def test_a_bell_that_cannot_hang_is_noted_and_hears_nothing(
    ringer: Ringer, settings: Settings, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    settings.SOCKETS = tmp_path / ("x" * 120)
    assert asyncio.run(heard(ringer, "labs")) == 0
    assert f"no bell at {settings.SOCKETS}/labs-{os.getpid()}.bell" in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("hung_at", "sent"), [("tests.bell", 2), ("another", 3)])
def test_the_broker_is_told_at_once_unless_somebody_here_heard(hung_at: str, sent: int) -> None:
    broker = redis.Redis.from_url(settings.BROKER_URL.replace("redis+socket", "unix"))
    broker.delete("tests.bell")

    async def story() -> None:
        bell = Bell(hung_at, lambda: None)
        bell.hang()
        database = Database()
        posts = Hints(database)
        for already in range(3):
            posts.tell({"tests.bell": 1}, [])
            while broker.llen("tests.bell") < min(already + 1, sent - 1):
                await asyncio.sleep(0.01)
        while broker.llen("tests.bell") < sent:
            await asyncio.sleep(0.01)
        await posts.close()
        await database.close()
        bell.take_down()

    asyncio.run(asyncio.wait_for(story(), 20))
    assert broker.llen("tests.bell") == sent


def test_a_stack_that_ends_leaves_no_bell_of_a_killed_process(folder: Path) -> None:
    (folder / "labs-1.bell").touch()
    forget_sockets(folder)
    assert not folder.exists()
