"""Our own clips and enlargements through every dialect of a running stack, paid to the nano."""

import base64
import gc
import io
import urllib.request
from collections.abc import Iterator
from typing import Any

import av
import httpx2
import openai
import pytest
from fal_client import encode_image
from huggingface_hub import InferenceClient
from PIL import Image, ImageDraw

from marketplace.embedded.demo import Api, follow
from tests.journeys.clients import test_fal_python as fal
from tests.journeys.clients import test_replicate as replicate
from tests.journeys.clients.test_huggingface import own_addresses
from tests.running import Stack

MOTION, UPSCALE = "kinora/glyph-motion", "kinora/glyph-upscale"
SECOND, PICTURE = 500_000, 100_000  # nano-dollars of a second of video, of an enlargement
__all__ = ["own_addresses"]  # a fixture
SHORT: dict[str, Any] = {"size": "64x64", "seconds": 1, "steps": 4, "seed": 7}
WORDS = "a red heart bounces"
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of OpenAI's videos
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),  # of fal's uploads
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What the clients left open is collected here, where its warnings are known."""
    yield
    gc.collect()


def drawing(side: int = 64) -> Image.Image:
    image = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(image).ellipse((side // 4, side // 4, side // 2, side * 3 // 4), "crimson")
    return image


def png() -> bytes:
    file = io.BytesIO()
    drawing().save(file, "PNG")
    return file.getvalue()


def made(api: Api, model: str, **inputs: Any) -> dict[str, Any]:
    """A finished run."""
    run = api.call("/api/v1/runs", {"model": model, "inputs": inputs, "wait": 60})
    run = follow(api, run, draw=lambda _line: None)
    assert run["state"] == "succeeded", run
    return run


def captured(api: Api, run: dict[str, Any]) -> int:
    """What the receipt says was charged, nano-dollars."""
    receipt = api.call(run["links"]["receipt"])
    assert receipt["cost"]["state"] == "captured"
    assert sum(int(entry["amount"]["nano"]) for entry in receipt["entries"]) == 0
    return int(receipt["cost"]["captured"]["nano"])


def content(run: dict[str, Any]) -> io.BytesIO:
    with urllib.request.urlopen(run["outputs"][0]["url"], timeout=20) as answer:
        return io.BytesIO(answer.read())


def frames_of(film: io.BytesIO | bytes) -> int:
    with av.open(io.BytesIO(film) if isinstance(film, bytes) else film) as clip:
        return sum(1 for _ in clip.decode(video=0))


def test_seconds_of_video_are_charged_exactly(stack: Stack) -> None:
    api = Api(stack.url, stack.key)
    run = made(api, MOTION, prompt=WORDS, **SHORT)
    assert frames_of(content(run)) == 24
    assert captured(api, run) == SECOND
    two = made(api, MOTION, prompt=WORDS, **SHORT | {"seconds": 2, "count": 2})
    assert [output["seconds"] for output in two["outputs"]] == [2, 2]
    assert captured(api, two) == 4 * SECOND


def test_the_same_seed_makes_the_same_file(stack: Stack) -> None:
    api = Api(stack.url, stack.key)
    one, two = (content(made(api, MOTION, prompt=WORDS, **SHORT)) for _ in range(2))
    assert one.getvalue() == two.getvalue()


def test_a_moving_picture_is_a_clip_of_the_same_price(stack: Stack) -> None:
    api = Api(stack.url, stack.key)
    run = made(api, MOTION, prompt=WORDS, **SHORT | {"seconds": 2}, format="webp")
    (output,) = run["outputs"]
    assert (output["kind"], output["content_type"], output["seconds"]) == ("video", "image/webp", 2)
    with Image.open(content(run)) as picture:
        assert getattr(picture, "n_frames", 1) > 24
    assert captured(api, run) == 2 * SECOND


def test_a_picture_is_drawn_enlarged_and_set_in_motion(stack: Stack) -> None:
    api = Api(stack.url, stack.key)
    small = made(api, "kinora/glyph", prompt="tomato", size=64, steps=4)
    large = made(api, UPSCALE, image=small["outputs"][0]["url"])
    assert [large["outputs"][0][side] for side in ("width", "height")] == [256, 256]
    assert captured(api, large) == PICTURE
    asked = SHORT | {"prompt": "spins", "size": "256x256"}
    moved = made(api, MOTION, image=large["outputs"][0]["url"], **asked)
    assert moved["outputs"][0]["width"] == 256
    assert captured(api, moved) == SECOND


def test_a_wrong_length_is_named_and_nothing_is_made(stack: Stack) -> None:
    api = Api(stack.url, stack.key)
    before = api.call("/api/v1/balance")["available"]["nano"]
    with pytest.raises(RuntimeError, match="seconds"):
        api.call("/api/v1/runs", {"model": MOTION, "inputs": {"prompt": "a", "seconds": 9}})
    assert api.call("/api/v1/balance")["available"]["nano"] == before


def test_fal_makes_a_clip_of_words_and_of_a_picture(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    fal.redirect(monkeypatch, stack.url)
    with fal.calling(stack.key) as client:
        words = client.run(MOTION, {"prompt": WORDS, **SHORT})
        given = {"prompt": "spins", "image_url": encode_image(drawing(), "png"), **SHORT}
        shown = client.run(MOTION, given)
        large = client.run(UPSCALE, {"image_url": given["image_url"]})
    assert [one["video"]["content_type"] for one in (words, shown)] == ["video/mp4"] * 2
    assert large["images"][0]["width"] == 256


def test_replicate_makes_a_clip_and_an_enlargement(stack: Stack) -> None:
    with replicate.calling(stack, stack.key) as client:
        clip = client.run(MOTION, input={"prompt": WORDS, **SHORT})
        large = client.run(UPSCALE, input={"image": io.BytesIO(png())})
    assert "/media/" in str(clip)
    assert "/media/" in str(large)


def test_openai_makes_a_clip_that_begins_with_a_picture(stack: Stack) -> None:
    with openai.OpenAI(api_key=stack.key, base_url=f"{stack.url}/v1") as client:
        video = client.videos.create_and_poll(
            model=MOTION, prompt="waves", seconds="1", size="64x64",  # type: ignore[arg-type]
            input_reference=("first.png", png(), "image/png"), extra_body={"steps": 4},
        )  # fmt: skip
        assert (video.status, video.seconds, video.size) == ("completed", "1", "64x64")
        assert frames_of(client.videos.download_content(video.id).read()) == 24


@pytest.mark.usefixtures("own_addresses")
def test_hugging_face_makes_clips_and_enlargements(stack: Stack) -> None:
    short = {"size": "64x64", "seconds": 1}
    for provider in ("fal-ai", "replicate"):
        with InferenceClient(provider=provider, api_key=stack.key) as client:  # type: ignore[arg-type]
            film = client.text_to_video(WORDS, model=MOTION, extra_body=short)
        assert frames_of(film) == 24
    with InferenceClient(f"{stack.url}/hf/models/{UPSCALE}", token=stack.key) as client:
        assert client.image_to_image(png()).size == (256, 256)


def test_an_address_takes_a_picture_where_words_are_a_parameter(stack: Stack) -> None:
    """As Hugging Face's image-to-video is posted; `inputs` alone are words."""
    picture = base64.b64encode(png()).decode()
    with httpx2.Client(headers={"Authorization": f"Bearer {stack.key}"}, timeout=60) as client:
        for inputs, more in ((WORDS, {}), (picture, {"prompt": "spins"})):
            body = {"inputs": inputs, "parameters": SHORT | more}
            film = client.post(f"{stack.url}/hf/models/{MOTION}", json=body)
            assert film.headers["content-type"] == "video/mp4"
            assert frames_of(film.content) == 24
