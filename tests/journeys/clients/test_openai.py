"""The official Python client of OpenAI, unmodified, against the running stack."""

import asyncio
import base64
import io
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from PIL import Image

from tests.journeys.clients.flows import Client, Flow, shows
from tests.journeys.clients.test_fal_python import runs_with
from tests.marketplace.media import samples
from tests.receiver import receiving
from tests.running import Stack

QUICK = {"latency_ms": 0}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its videos are all marked


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=stack.key, base_url=f"{stack.url}/v1") as client:
        yield client


@pytest.fixture
def stranger(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=stack.other_key, base_url=f"{stack.url}/v1") as client:
        yield client


def size_of(encoded: str | None) -> tuple[int, int]:
    with Image.open(io.BytesIO(base64.b64decode(encoded or ""))) as picture:
        return picture.size


@shows(Client.OPENAI, Flow.SUCCESS)
def test_an_image_comes_as_base64(client: openai.OpenAI) -> None:
    made = client.images.generate(
        model="kinora/glyph", prompt="tomato", size="256x256", n=2, quality="auto", user="u1"
    )
    assert [size_of(image.b64_json) for image in made.data or []] == [(256, 256)] * 2
    assert (made.size, made.output_format) == ("256x256", "png")


def test_an_image_comes_as_an_address(client: openai.OpenAI) -> None:
    made = client.images.generate(
        model="rehearsal/still", prompt="a", response_format="url", extra_body=QUICK
    )
    [image] = made.data or []
    assert image.b64_json is None
    assert (image.url or "").startswith("http://127.0.0.1:")


@shows(Client.OPENAI, Flow.STREAM)
def test_partial_images_come_before_the_last(client: openai.OpenAI) -> None:
    events = list(
        client.images.generate(
            model="kinora/glyph", prompt="red heart", stream=True, partial_images=2,
            extra_body={"steps": 30},
        )
    )  # fmt: skip
    kinds = [event.type for event in events]
    assert kinds[-1] == "image_generation.completed"
    assert set(kinds[:-1]) <= {"image_generation.partial_image"}
    assert size_of(events[-1].b64_json) == (256, 256)


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"size": "300x300"}, "size", "32, 64, 128, 256, 512"),
    ({"n": 9}, "n", "n must be at most 4."),
    ({"quality": "high"}, "quality", "auto, standard"),
    ({"background": "transparent"}, "background", "auto, opaque"),
    ({"output_format": "webp"}, "output_format", "png, auto"),
    ({"extra_body": {"colour": "red"}}, "colour", "not an input here"),
]


@shows(Client.OPENAI, Flow.WRONG_INPUT)
@pytest.mark.parametrize(("said", "param", "words"), WRONG)
def test_what_cannot_be_had_is_refused_before_money(
    client: openai.OpenAI, said: dict[str, Any], param: str, words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as fault:
        client.images.generate(model="kinora/glyph", prompt="a", **said)
    assert fault.value.param == param
    assert words in fault.value.message
    assert fault.value.response.headers["x-request-id"].startswith("req_")


def test_a_refusal_by_the_lab_is_no_servers_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as fault:
        client.images.generate(
            model="rehearsal/still", prompt="a", extra_body=QUICK | {"behaviour": "refuse"}
        )
    assert fault.value.code == "moderation_blocked"


@shows(Client.OPENAI, Flow.FAILURE)
def test_a_failure_is_not_tried_again(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as fault:
        client.images.generate(
            model="rehearsal/still", prompt="a", extra_body=QUICK | {"behaviour": "fail"}
        )
    assert fault.value.response.headers["x-should-retry"] == "false"


@shows(Client.OPENAI, Flow.SUCCESS)
def test_a_clip_is_polled_and_downloaded(client: openai.OpenAI) -> None:
    made = client.videos.create_and_poll(
        model="rehearsal/clip", prompt="a carousel", seconds="4", size="640x360",  # type: ignore[arg-type]
        extra_body=QUICK,
    )  # fmt: skip
    assert (made.status, made.progress, made.seconds, made.size) == (
        "completed",
        100,
        "4",
        "640x360",
    )
    assert client.videos.download_content(made.id).read()[4:8] == b"ftyp"
    assert made.id in {video.id for video in client.videos.list(limit=5)}
    assert client.videos.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.videos.download_content(made.id)


def test_a_remix_has_another_prompt_and_the_same_rest(client: openai.OpenAI) -> None:
    first = client.videos.create(
        model="rehearsal/clip", prompt="a", seconds="1", extra_body=QUICK,  # type: ignore[arg-type]
    )  # fmt: skip
    again = client.videos.remix(first.id, prompt="b")
    assert (again.prompt, again.seconds, again.remixed_from_video_id) == ("b", "1", first.id)


@shows(Client.OPENAI, Flow.FAILURE)
def test_a_failed_clip_says_why(client: openai.OpenAI) -> None:
    made = client.videos.create_and_poll(
        model="rehearsal/clip", prompt="a", extra_body=QUICK | {"behaviour": "fail", "seconds": 1}
    )
    assert made.status == "failed"
    assert made.error is not None
    assert made.error.message


def test_models_are_listed_and_found_by_a_name_with_a_slash(client: openai.OpenAI) -> None:
    assert {"kinora/glyph", "rehearsal/clip"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("kinora/glyph").owned_by == "kinora"
    with pytest.raises(openai.NotFoundError) as fault:
        client.models.retrieve("kinora/none")
    assert fault.value.code == "model_not_found"


@shows(Client.OPENAI, Flow.STRANGER)
def test_another_teams_video_is_one_that_never_was(
    client: openai.OpenAI, stranger: openai.OpenAI
) -> None:
    made = client.videos.create(
        model="rehearsal/clip", prompt="a", seconds="1", extra_body=QUICK,  # type: ignore[arg-type]
    )  # fmt: skip
    other = made.id[:-1] + ("0" if made.id[-1] != "0" else "1")
    said = []
    for wanted in (made.id, other):
        for call in (stranger.videos.retrieve, stranger.videos.delete):
            with pytest.raises(openai.NotFoundError) as fault:
                call(wanted)
            said.append(str(fault.value.body).replace(wanted, "…"))
    assert len(set(said)) == 1


@shows(Client.OPENAI, Flow.WRONG_KEY)
def test_a_wrong_key_is_told_so(stack: Stack) -> None:
    with (
        openai.OpenAI(api_key="sk-nonsense", base_url=f"{stack.url}/v1") as client,
        pytest.raises(openai.AuthenticationError) as fault,
    ):
        client.models.list()
    assert fault.value.code == "invalid_api_key"


def test_a_picture_goes_along_with_a_clip(client: openai.OpenAI) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(picture, "PNG")
    made = client.videos.create_and_poll(
        model="rehearsal/animate", prompt="a", seconds="1",  # type: ignore[arg-type]
        input_reference=("first.png", picture.getvalue(), "image/png"), extra_body=QUICK,
    )  # fmt: skip
    assert made.status == "completed"


def picture(colour: str, *, kind: str = "RGB") -> tuple[str, bytes, str]:
    file = io.BytesIO()
    Image.new(kind, (64, 64), colour).save(file, "PNG")
    return f"{colour.strip('#')}.png", file.getvalue(), "image/png"


@shows(Client.OPENAI, Flow.SMALL)
def test_several_pictures_and_a_mask_are_edited(client: openai.OpenAI) -> None:
    both = [picture("red"), picture("blue")]
    kept = client.images.edit(
        model="rehearsal/blend", image=both, mask=picture("#000000ff", kind="RGBA"), prompt="a",
        n=1, size="256x256", extra_body=QUICK,
    )  # fmt: skip
    made = Image.open(io.BytesIO(base64.b64decode((kept.data or [])[0].b64_json or "")))
    assert (made.size, made.getpixel((9, 9))) == ((256, 256), (255, 0, 0))
    one = client.images.edit(
        model="rehearsal/blend", image=both[0], prompt="a", response_format="url", extra_body=QUICK
    )
    assert (one.data or [])[0].url
    with pytest.raises(openai.BadRequestError) as fault:
        client.images.edit(model="rehearsal/blend", image=both * 3, prompt="a", extra_body=QUICK)
    assert fault.value.param == "image"


def test_an_edit_streams_and_a_variation_needs_no_words(client: openai.OpenAI) -> None:
    events = client.images.edit(
        model="rehearsal/blend", image=picture("red"), prompt="a", stream=True, partial_images=1,
        extra_body=QUICK,
    )  # fmt: skip
    assert [event.type for event in events] == ["image_edit.completed"]
    varied = client.images.create_variation(
        model="rehearsal/blend", image=picture("red"), size="256x256", extra_body=QUICK
    )
    assert varied.data


@shows(Client.OPENAI, Flow.LARGE)
def test_a_picture_of_120_megabytes_is_edited(client: openai.OpenAI) -> None:
    heavy = ("heavy.png", samples.heavy_picture(115), "image/png")
    made = client.images.edit(
        model="rehearsal/blend", image=heavy, prompt="a", response_format="url", extra_body=QUICK
    )
    assert len(heavy[1]) > 120_000_000
    assert (made.data or [])[0].url


def test_a_stream_tells_of_a_failure(client: openai.OpenAI) -> None:
    events = client.images.generate(
        model="rehearsal/still", prompt="a", stream=True, extra_body=QUICK | {"behaviour": "fail"}
    )
    with pytest.raises(openai.APIError, match="The lab failed to draw this"):
        list(events)


@shows(Client.OPENAI, Flow.LATE)
def test_a_wait_that_runs_out_is_the_callers_own(client: openai.OpenAI) -> None:
    impatient = client.with_options(timeout=0.7, max_retries=0)
    with pytest.raises(openai.APITimeoutError):
        impatient.images.generate(
            model="rehearsal/still", prompt="too late", extra_body={"latency_ms": 5000}
        )


def clips(client: openai.OpenAI, *prompts: str) -> list[str]:
    """Ids of short clips, in the order in which they were made."""
    wish = {"seconds": 1, "fps": 8, "resolution": "180p", **QUICK}
    return [
        client.videos.create_and_poll(model="rehearsal/clip", prompt=p, extra_body=wish).id
        for p in prompts
    ]


@shows(Client.OPENAI, Flow.PAGES)
def test_lists_page_in_both_orders(client: openai.OpenAI) -> None:
    first, second, third = clips(client, "one", "two", "three")
    client.images.generate(model="rehearsal/still", prompt="no video", extra_body=QUICK)
    falling = [video.id for video in client.videos.list(limit=2)]  # asks for every page
    assert falling[:3] == [third, second, first]
    assert falling == sorted(falling, reverse=True)
    rising = client.videos.list(limit=1, order="asc", after=first)
    assert [video.id for video in rising.data] == [second]
    assert rising.has_more
    assert [video.id for video in rising][-1] == third
    with pytest.raises(openai.BadRequestError) as fault:
        client.videos.list(order="up")  # type: ignore[arg-type]
    assert fault.value.param == "order"


def test_a_clip_has_a_thumbnail_and_a_sheet(client: openai.OpenAI) -> None:
    [clip] = clips(client, "a carousel")
    for variant, size, kind in (
        ("thumbnail", (320, 180), "WEBP"),
        ("spritesheet", (1280, 720), "JPEG"),
    ):
        drawn = client.videos.download_content(clip, variant=variant)  # type: ignore[arg-type]
        with Image.open(io.BytesIO(drawn.read())) as opened:
            assert (opened.size, opened.format) == (size, kind)


def test_a_clip_is_edited_as_a_file(client: openai.OpenAI, stranger: openai.OpenAI) -> None:
    [clip] = clips(client, "dusk")
    content = client.videos.download_content(clip).read()
    again: Any = client.videos.edit(
        prompt="in red", video=("own.mp4", content, "video/mp4"),
        extra_body={"model": "rehearsal/tint", "seconds": 1, "resolution": "180p", **QUICK},
    )  # fmt: skip
    done = client.videos.poll(again.id)
    assert (done.status, done.model, done.size) == ("completed", "rehearsal/tint", "320x180")
    for whose, status in ((client, 400), (stranger, 404)):
        with pytest.raises(openai.APIStatusError) as fault:
            whose.post("/videos/edits", body={"video": {"id": clip}, "prompt": "b"}, cast_to=object)
        assert fault.value.status_code == status  # rehearsal/clip edits none; a stranger has none


def test_a_clip_is_edited_by_its_id(client: openai.OpenAI) -> None:
    [clip] = clips(client, "dawn")
    body = {"video": {"id": clip}, "prompt": "in blue", "model": "rehearsal/tint", **QUICK}
    made: Any = client.post("/videos/edits", body=body, cast_to=object)
    assert client.videos.poll(made["id"]).status == "completed"


def test_the_asynchronous_client_draws_streams_polls_and_pages(stack: Stack) -> None:
    async def all_of_it() -> tuple[str | None, list[str], str, bool]:
        async with openai.AsyncOpenAI(api_key=stack.key, base_url=f"{stack.url}/v1") as client:
            wish: Any = {"model": "rehearsal/still", "prompt": "a", "extra_body": QUICK}
            made = await client.images.generate(**wish, response_format="url")
            stream = await client.images.generate(**wish, stream=True)
            kinds = [event.type async for event in stream]
            short = {"seconds": 1, "fps": 8, "resolution": "180p", **QUICK}
            clip = await client.videos.create_and_poll(
                model="rehearsal/clip", prompt="a", extra_body=short
            )
            known = [video.id async for video in client.videos.list(limit=2)]
            return (made.data or [])[0].url, kinds, clip.status, clip.id in known

    url, kinds, status, known = asyncio.run(all_of_it())
    assert (url or "").startswith("http://127.0.0.1:")
    assert kinds == ["image_generation.completed"]
    assert (status, known) == ("completed", True)


def test_deleting_again_harms_nothing(client: openai.OpenAI) -> None:
    [clip] = clips(client, "to go")
    assert [client.videos.delete(clip).deleted for _ in range(2)] == [True, True]


@shows(Client.OPENAI, Flow.CANCEL, Flow.CANCEL_AGAIN)
def test_deleting_a_clip_that_goes_on_ends_it(client: openai.OpenAI, stack: Stack) -> None:
    """There is no verb to cancel."""
    made = client.videos.create(
        model="rehearsal/clip", prompt="to end", seconds="1",  # type: ignore[arg-type]
        extra_body={"latency_ms": 20_000},
    )  # fmt: skip
    assert [client.videos.delete(made.id).deleted for _ in range(2)] == [True, True]
    until = time.monotonic() + 20
    while runs_with(stack, "to end") != [("cancelled", 0)]:
        assert time.monotonic() < until
        time.sleep(0.1)


@shows(Client.OPENAI, Flow.WEBHOOK)
def test_a_webhook_is_verified_and_a_forged_one_refused(client: openai.OpenAI) -> None:
    with receiving() as hooks:
        made = client.webhooks.create(
            url=hooks.url(),
            name="Shop",
            event_types=["video.completed"],  # type: ignore[list-item]
        )
        [clip] = clips(client, "to tell of")
        [told] = [one for one in hooks.wait(1) if one.json["data"]["id"] == clip]
        client.webhooks.delete(made.id)
    body, secret = told.body.decode(), made.signing_secret
    event = client.webhooks.unwrap(body, told.headers, secret=secret)
    assert (event.type, event.data.id) == ("video.completed", clip)  # type: ignore[comparison-overlap]
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(f"{body} ", told.headers, secret=secret)


def test_what_is_no_picture_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as fault:
        client.videos.create(
            model="rehearsal/animate", prompt="a",
            input_reference=("first.png", b"<html></html>", "image/png"), extra_body=QUICK,
        )  # fmt: skip
    assert fault.value.param == "input_reference"
