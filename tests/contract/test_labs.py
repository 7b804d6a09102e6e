"""Every lab in the registry through every scenario, against a server that speaks as it does.

What a lab's API cannot express says so, with the reason. The house is no lab behind HTTP.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from partners import adapter as transport
from partners.contract import (
    Broken,
    Job,
    Progress,
    Refused,
    Result,
    Retry,
    SupplierError,
    Ticket,
    Unknown,
)
from partners.registry import ADAPTERS
from tests.contract.counterfeit import (
    FILE,
    JOB,
    NO_CANCEL,
    NO_CODE,
    NO_NOTICE,
    NOT_QUEUED,
    Counterfeit,
    Says,
    Shape,
)

LABS = sorted(set(ADAPTERS) - {"house"})
LONGEST_ADAPTER = 120


class Bench:
    """One adapter before its counterfeit."""

    def __init__(self, name: str, lab: Counterfeit) -> None:
        self.adapter: Any = ADAPTERS[name](lab.url, lab.shape.secret)
        self.lab, self.shape = lab, lab.shape
        self.job = Job("run-1", lab.shape.target, lab.shape.inputs)
        self.progress: list[Progress] = []

    async def finish(self) -> Result:
        told = await self.adapter.submit(self.job)
        ticket = told
        for _ in range(9):
            if isinstance(told, Result):
                return told
            told = await self.adapter.poll(ticket)
            if isinstance(told, Progress):
                self.progress.append(told)
        raise AssertionError("it never ends")

    async def fails(self, kind: type[SupplierError]) -> Any:
        with pytest.raises(kind) as caught:
            await self.finish()
        assert caught.value.message
        return caught.value

    async def delivered(self, result: Result) -> bytes:
        pieces = [piece async for piece in self.adapter.fetch(result.outputs[0], most=10_000)]
        return b"".join(pieces)

    def fate(self, what: Any) -> None:
        """Let the end of the job be this, whichever answer it comes with."""
        if self.shape.queued:
            self.lab.to_questions = (what,)
        else:
            self.lab.to_job = what


@asynccontextmanager
async def bench(name: str, shape: Shape) -> AsyncIterator[Bench]:
    async with Counterfeit(shape) as lab:
        made = Bench(name, lab)
        try:
            yield made
        finally:
            await made.adapter.close()


# ── the scenarios ─────────────────────────────────────────────────────────────────────────────


async def success(b: Bench) -> None:
    result = await b.finish()
    assert await b.delivered(result) == FILE
    assert (b.lab.posts, b.lab.jobs, b.lab.unproven) == (1, 1, [])


async def slow_success(b: Bench) -> None:
    b.lab.to_questions = ("running", "running", "succeeded")
    assert await b.delivered(await b.finish()) == FILE
    assert len(b.progress) == 2


async def refusal(b: Bench) -> None:
    b.lab.to_job = b.shape.invalid
    assert not (await b.fails(Refused)).generated
    assert b.lab.posts == 1


async def policy_before(b: Bench) -> None:
    if b.shape.policy_before is None:
        b.fate("policy_before")
    else:
        b.lab.to_job = b.shape.policy_before
    assert not (await b.fails(Refused)).generated


async def policy_after(b: Bench) -> None:
    b.fate("policy_after")
    assert (await b.fails(Refused)).generated


async def failure(b: Bench) -> None:
    b.fate("failed")
    assert not isinstance(await b.fails(Broken), Unknown)


async def rate_limit(b: Bench) -> None:
    b.lab.to_job = Says({}, 429, {"Retry-After": "7"})
    assert (await b.fails(Retry)).after == 7
    assert (b.lab.posts, b.lab.jobs) == (1, 0)


async def server_error(b: Bench) -> None:
    b.lab.to_job = Says({}, 500)
    await b.fails(Retry if b.shape.keyed else Unknown)
    assert b.lab.posts == (3 if b.shape.keyed else 1)


async def hang(b: Bench) -> None:
    b.adapter.call_seconds = 0.1
    b.lab.to_job = "hang"
    await b.fails(Retry if b.shape.keyed else Unknown)
    assert b.lab.posts == (3 if b.shape.keyed else 1)


async def disconnect_after_accept(b: Bench) -> None:
    b.lab.to_job = "drop"
    if b.shape.keyed or b.shape.found_by_key:
        assert await b.delivered(await b.finish()) == FILE
    else:
        await b.fails(Unknown)
        assert b.lab.posts == 1
    assert b.lab.jobs == 1


async def malformed(b: Bench) -> None:
    b.lab.to_job = "malformed"
    await b.fails(Broken if b.shape.keyed else Unknown)
    assert b.lab.posts == 1


async def malformed_later(b: Bench) -> None:
    b.lab.to_questions = ("malformed",)
    await b.fails(Broken)


async def html(b: Bench) -> None:
    b.lab.to_job = "html"
    await b.fails(Broken if b.shape.keyed else Unknown)
    assert b.lab.posts == 1


async def strange_receipt(b: Bench) -> None:
    told = b.lab.filled(b.shape.receipt).replace(JOB.encode(), b"../../keys?all=1 ")
    b.lab.to_job = Says(told)
    await b.fails(Unknown)
    assert (b.lab.posts, b.lab.asked) == (1, 0)


async def error_in_200(b: Bench) -> None:
    b.lab.to_job = Says(b.shape.error_200)
    assert not isinstance(await b.fails(Broken), Unknown)
    assert b.lab.posts == 1


async def trouble_in_200(b: Bench) -> None:
    b.lab.to_job = Says(b.shape.troubled)
    await b.fails(Unknown)
    assert b.lab.posts == 1


async def duplicate_notice(b: Bench) -> None:
    ticket = await b.adapter.submit(b.job)
    notice = b.lab.filled(b.shape.notice)
    assert [b.adapter.read_webhook(notice) for _ in range(2)] == [ticket, ticket]
    assert await b.adapter.poll(ticket) == await b.adapter.poll(ticket)


async def notice_first(b: Bench) -> None:
    early = b.adapter.read_webhook(b.lab.filled(b.shape.notice))
    assert isinstance(await b.adapter.poll(early), Result)
    assert await b.adapter.submit(b.job) == early


async def forged_notice(b: Bench) -> None:
    for forged in (b"", b"[]", b"<html>", b'{"id": {}}', b'{"id": "../../x", "task_id": "a b"}'):
        with pytest.raises(Broken):
            b.adapter.read_webhook(forged)


async def success_then_failure(b: Bench) -> None:
    b.lab.to_questions = ("succeeded", "failed")
    assert await b.delivered(await b.finish()) == FILE
    with pytest.raises(Broken):
        await b.adapter.poll(Ticket(JOB))


async def lie(b: Bench, name: str) -> None:
    answer, said = b.shape.lies[name]
    b.fate(answer if isinstance(answer, Says) else Says(answer))
    result = await b.finish()
    assert {unit: str(figure) for unit, figure in result.usage.quantities.items()} == said
    assert await b.delivered(result) == FILE


async def wrong_length(b: Bench) -> None:
    await lie(b, "wrong_length")


async def wrong_price(b: Bench) -> None:
    await lie(b, "wrong_price")


async def cancel_in_time(b: Bench) -> None:
    b.lab.to_questions = ("cancellable",)
    ticket = await b.adapter.submit(b.job)
    await b.adapter.cancel(ticket)
    assert b.lab.cancelled == 1
    b.lab.to_questions = ("cancelled",)
    with pytest.raises(Broken):
        await b.adapter.poll(ticket)


async def cancel_too_late(b: Bench) -> None:
    ticket = await b.adapter.submit(b.job)
    await b.adapter.cancel(ticket)
    assert await b.delivered(await b.adapter.poll(ticket)) == FILE
    assert b.shape.keyed or b.lab.cancelled == 0


async def unknown_job(b: Bench) -> None:
    with pytest.raises(Broken):
        await b.adapter.poll(Ticket("no-such-job"))


async def nothing_delivered(b: Bench) -> None:
    b.fate("empty")
    await b.fails(Broken)


async def two_gigabytes(b: Bench) -> None:
    b.fate("huge")
    await b.fails(Broken)
    assert b.lab.posts == 1
    assert b.lab.sent < 64 * 1024**2


async def huge_file(b: Bench) -> None:
    b.lab.file = "huge"
    result = await b.finish()
    with pytest.raises(Broken, match="larger"):
        await b.delivered(result)
    assert b.lab.sent < 64 * 1024**2


Scenario = Callable[[Bench], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {
    each.__name__: each
    for each in (
        success, slow_success, refusal, policy_before, policy_after, failure, rate_limit,
        server_error, hang, disconnect_after_accept, malformed, malformed_later, html,
        strange_receipt, error_in_200, trouble_in_200, duplicate_notice, notice_first,
        forged_notice, success_then_failure,
        wrong_length, wrong_price, cancel_in_time, cancel_too_late, unknown_job,
        nothing_delivered, two_gigabytes, huge_file,
    )
}  # fmt: skip
ONLY_QUEUED = frozenset(
    {"strange_receipt", "slow_success", "malformed_later", "success_then_failure", "unknown_job"}
)
OF_NOTICES = frozenset({"duplicate_notice", "notice_first"})
OF_CANCELS = frozenset({"cancel_in_time", "cancel_too_late"})


def shape_of(name: str) -> Shape:
    found: Shape = import_module(f"tests.contract.labs.{name}").SHAPE
    return found


def inexpressible(shape: Shape, scenario: str) -> str:
    """Why the lab's API cannot get into this; empty where it can."""
    if scenario in shape.cannot:
        return shape.cannot[scenario]
    if scenario == "trouble_in_200" and shape.troubled is None:
        return NO_CODE
    if scenario in ONLY_QUEUED and not shape.queued:
        return NOT_QUEUED
    if scenario in OF_NOTICES and shape.notice is None:
        return NO_NOTICE
    if scenario in OF_CANCELS and shape.cancel is None:
        return NO_CANCEL
    return ""


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "PAUSE_SECONDS", 0.01)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("name", LABS)
def test_a_lab_is_followed_through(name: str, scenario: str) -> None:
    shape = shape_of(name)
    if reason := inexpressible(shape, scenario):
        pytest.skip(reason)

    async def go() -> None:
        async with bench(name, shape) as b:
            await SCENARIOS[scenario](b)

    asyncio.run(go())


@pytest.mark.parametrize("name", LABS)
def test_what_a_lab_cannot_express_is_a_scenario_with_a_reason(name: str) -> None:
    cannot = shape_of(name).cannot
    assert set(cannot) <= set(SCENARIOS)
    assert all(cannot.values())


@pytest.mark.parametrize("name", LABS)
def test_an_adapter_is_short(name: str) -> None:
    file = Path(import_module(ADAPTERS[name].__module__).__file__ or "")
    assert len(file.read_text().splitlines()) <= LONGEST_ADAPTER
