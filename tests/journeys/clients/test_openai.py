"""The official Python client of OpenAI, unmodified, against the running stack."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from PIL import Image

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


def test_a_failure_is_not_tried_again(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as fault:
        client.images.generate(
            model="rehearsal/still", prompt="a", extra_body=QUICK | {"behaviour": "fail"}
        )
    assert fault.value.response.headers["x-should-retry"] == "false"


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


def test_what_is_no_picture_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as fault:
        client.videos.create(
            model="rehearsal/animate", prompt="a",
            input_reference=("first.png", b"<html></html>", "image/png"), extra_body=QUICK,
        )  # fmt: skip
    assert fault.value.param == "input_reference"
