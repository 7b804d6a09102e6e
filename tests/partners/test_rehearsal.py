"""Every way a lab can answer, through the real adapter and the real rehearsal lab."""

import asyncio
import base64
import hashlib
import io
from decimal import Decimal
from typing import Any

import av
import pytest
from PIL import Image

from partners import drawing
from partners.contract import Broken, Job, Output, Progress, Refused, Result, Ticket
from partners.labs.rehearsal import Rehearsal
from tests.lab import Lab

SMALL = {"size": "64x64", "latency_ms": 0}
SHORT = {"seconds": 1, "fps": 8, "resolution": "180p", "latency_ms": 0}


async def finished(adapter: Rehearsal, job: Job) -> Result:
    """Follow a job to its result."""
    told: Ticket | Progress | Result = await adapter.submit(job)
    ticket = told
    while not isinstance(told, Result):
        await asyncio.sleep(0.02)
        assert isinstance(ticket, Ticket)
        told = await adapter.poll(ticket)
    return told


async def content(adapter: Rehearsal, output: Output) -> bytes:
    return b"".join([piece async for piece in adapter.fetch(output, most=10_000_000)])


def run(lab: Lab, target: str, key: str = "one", **inputs: Any) -> tuple[Result, list[bytes]]:
    async def go() -> tuple[Result, list[bytes]]:
        async with Rehearsal(lab.url) as adapter:
            result = await finished(adapter, Job(key, target, {"prompt": "dusk"} | inputs))
            return result, [await content(adapter, output) for output in result.outputs]

    return asyncio.run(go())


def test_a_still_is_a_png_of_the_size_asked_for(lab: Lab) -> None:
    result, files = run(lab, "still", size="256x256", count=2, latency_ms=0)
    assert result.usage.quantities == {"image": Decimal(2)}
    assert [Image.open(io.BytesIO(file)).size for file in files] == [(256, 256)] * 2
    assert files[0] != files[1]


def test_the_same_words_give_the_same_bytes_and_others_do_not(lab: Lab) -> None:
    _, first = run(lab, "still", "one", **SMALL)
    _, again = run(lab, "still", "two", **SMALL)
    _, other = run(lab, "still", "three", **SMALL, seed=1)
    assert first == again
    assert first != other


def test_a_clip_has_the_frames_and_the_sound_asked_for(lab: Lab) -> None:
    result, files = run(lab, "clip", **SHORT, sound=True)
    assert result.usage.quantities == {"video_second": Decimal("1.0")}
    with av.open(io.BytesIO(files[0])) as container:
        assert len(container.streams.audio) == 1
        assert sum(1 for _ in container.decode(video=0)) == 8


def test_a_clip_without_sound_has_no_sound_track(lab: Lab) -> None:
    _, files = run(lab, "clip", **SHORT, sound=False)
    with av.open(io.BytesIO(files[0])) as container:
        assert len(container.streams.audio) == 0


def test_a_slow_job_tells_how_far_it_is(lab: Lab) -> None:
    async def go() -> tuple[Any, Any]:
        async with Rehearsal(lab.url) as adapter:
            job = Job("slow", "still", {"prompt": "dusk", "latency_ms": 60_000})
            ticket = await adapter.submit(job)
            assert isinstance(ticket, Ticket)
            return ticket, await adapter.poll(ticket)

    ticket, told = asyncio.run(go())
    assert told == Progress("draw", 0, 12)
    assert Ticket.from_json(ticket.as_json()) == ticket


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({"behaviour": "refuse"}, Refused, "The lab does not draw this."),
        ({"behaviour": "fail"}, Broken, "The lab failed to draw this."),
        ({"count": 9}, Refused, "`count` is not usable."),
    ],
)
def test_what_comes_to_nothing_says_why(
    lab: Lab, inputs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(lab, "still", **SMALL, **inputs)


def test_the_same_key_is_the_same_job_also_at_the_same_instant(lab: Lab) -> None:
    async def go() -> set[str]:
        async with Rehearsal(lab.url) as adapter:
            job = Job("once", "still", {"prompt": "dusk", "latency_ms": 5_000})
            tickets = await asyncio.gather(*(adapter.submit(job) for _ in range(8)))
            return {ticket.job for ticket in tickets if isinstance(ticket, Ticket)}

    assert len(asyncio.run(go())) == 1
    assert lab.stats() == {"posts": 8, "jobs": 1, "cancelled": 0}


def test_the_same_key_for_another_job_is_refused(lab: Lab) -> None:
    run(lab, "still", "once", **SMALL)
    with pytest.raises(Broken, match="409"):
        run(lab, "still", "once", **SMALL, seed=5)
    assert lab.stats()["jobs"] == 1


def test_a_hanging_job_goes_on_until_it_is_cancelled(lab: Lab) -> None:
    async def go() -> None:
        async with Rehearsal(lab.url) as adapter:
            job = Job("hang", "still", {"prompt": "dusk", "latency_ms": 0, "behaviour": "hang"})
            ticket = await adapter.submit(job)
            assert isinstance(ticket, Ticket)
            assert await adapter.poll(ticket) == Progress("draw", 3, 12)
            await adapter.cancel(ticket)
            await adapter.poll(ticket)

    with pytest.raises(Broken):
        asyncio.run(go())
    assert lab.stats()["cancelled"] == 1


@pytest.mark.parametrize(
    ("behaviour", "reported", "delivered"),
    [("lie_longer", "385.2", 3), ("lie_units", "3000000", 3), ("partial", "2", 2)],
)
def test_a_lie_is_in_the_report_and_not_in_the_files(
    lab: Lab, behaviour: str, reported: str, delivered: int
) -> None:
    result, files = run(lab, "still", **SMALL, count=3, behaviour=behaviour)
    assert result.usage.quantities["image"] == Decimal(reported)
    assert len(files) == delivered


def test_a_job_that_the_lab_never_heard_of_is_broken(lab: Lab) -> None:
    async def go() -> None:
        async with Rehearsal(lab.url) as adapter:
            await adapter.poll(Ticket("job_unknown"))

    with pytest.raises(Broken, match="does not know"):
        asyncio.run(go())


def test_drawn_pictures_do_not_change_between_versions(lab: Lab) -> None:
    """A change here changes what customers' tests compare with: say so in its commit."""
    _, files = run(lab, "still", **SMALL)
    pixels = Image.open(io.BytesIO(files[0])).convert("RGB").tobytes()
    assert hashlib.sha256(pixels).hexdigest()[:16] == "7555e93510cd2325"


def as_data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def plain(colour: tuple[int, ...]) -> str:
    file = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", (32, 32), colour).save(file, "PNG")
    return as_data("image/png", file.getvalue())


def test_pictures_are_blended_and_stay_where_the_mask_is_opaque(lab: Lab) -> None:
    images = [plain((255, 0, 0)), plain((0, 0, 255))]
    result, [both] = run(lab, "blend", "both", images=images, **SMALL)
    _, [kept] = run(lab, "blend", "kept", images=images, mask_image=plain((0, 0, 0, 255)), **SMALL)
    _, [anew] = run(lab, "blend", "anew", images=images, mask_image=plain((0, 0, 0, 0)), **SMALL)
    assert result.usage.quantities == {"image": Decimal(1)}
    with Image.open(io.BytesIO(kept)) as picture:
        assert (picture.size, picture.getpixel((3, 3))) == ((64, 64), (255, 0, 0))
    assert anew == both != kept


def test_a_clip_comes_back_in_another_colour_as_long_as_asked_for(lab: Lab) -> None:
    video = as_data("video/mp4", drawing.clip("dusk", (320, 180), 8, 4, seed=0, sound=False))
    result, [made] = run(lab, "tint", video=video, **SHORT)
    assert result.usage.quantities == {"video_second": Decimal(1)}
    with av.open(io.BytesIO(made)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 8


@pytest.mark.parametrize("inputs", [{"images": [plain((1, 2, 3))[:-40]]}, {"images": "none"}])
def test_what_is_no_picture_is_not_blended(lab: Lab, inputs: dict[str, Any]) -> None:
    with pytest.raises((Broken, Refused)):
        run(lab, "blend", **SMALL, **inputs)
