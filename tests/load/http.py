"""Requests per second and their times over HTTP, from one asyncio client on the same cores."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

STILL = {"model": "rehearsal/still", "inputs": {"prompt": "load", "size": "64x64", "latency_ms": 0}}


@dataclass(frozen=True)
class Target:
    """clients: requests in flight at once; seconds: how long to send."""

    url: str
    key: str
    clients: int
    seconds: float


Ask = Callable[[aiohttp.ClientSession, int], Awaitable[None]]


async def send(target: Target, ask: Ask) -> dict[str, Any]:
    """Keep `clients` requests in flight for `seconds`; any refusal ends the measurement."""
    waits: list[float] = []
    until = time.monotonic() + target.seconds

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        while time.monotonic() < until:
            start = time.monotonic()
            await ask(session, number)
            waits.append(time.monotonic() - start)

    headers = {"Authorization": f"Bearer {target.key}"}
    connector = aiohttp.TCPConnector(limit=target.clients)
    async with aiohttp.ClientSession(target.url, headers=headers, connector=connector) as session:
        started = time.monotonic()
        await asyncio.gather(*(client(session, n) for n in range(target.clients)))
        passed = time.monotonic() - started
    return figures(waits, passed, target.clients)


def figures(waits: list[float], passed: float, clients: int) -> dict[str, Any]:
    waits.sort()
    return {
        "clients": clients,
        "requests": len(waits),
        "per_second": round(len(waits) / passed),
        "p50_ms": round(statistics.median(waits) * 1e3, 2),
        "p99_ms": round(waits[int(len(waits) * 0.99)] * 1e3, 2),
    }


async def post_run(session: aiohttp.ClientSession, body: dict[str, Any]) -> dict[str, Any]:
    async with session.post("/api/v1/runs", json=body) as answer:
        found = await answer.json()
        if answer.status != 201:
            raise RuntimeError(f"{answer.status}: {found}")
        return dict(found)


async def admissions(target: Target) -> dict[str, Any]:
    async def ask(session: aiohttp.ClientSession, number: int) -> None:
        await post_run(session, STILL)

    return await send(target, ask)


async def complete_runs(target: Target) -> dict[str, Any]:
    """Admit, execute at the rehearsal lab, probe, settle, answer: one request each."""

    async def ask(session: aiohttp.ClientSession, number: int) -> None:
        run = await post_run(session, STILL | {"wait": 60})
        if run["state"] != "succeeded":
            raise RuntimeError(f"{run['id']} is {run['state']}: {run['error']}")

    return await send(target, ask)


async def status_reads(target: Target) -> dict[str, Any]:
    async with aiohttp.ClientSession(
        target.url, headers={"Authorization": f"Bearer {target.key}"}
    ) as session:
        run = await post_run(session, STILL | {"wait": 60})

    async def ask(session: aiohttp.ClientSession, number: int) -> None:
        async with session.get(f"/api/v1/runs/{run['id']}") as answer:
            await answer.read()
            if answer.status != 200:
                raise RuntimeError(str(answer.status))

    return await send(target, ask)
