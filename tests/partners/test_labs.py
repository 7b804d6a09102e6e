"""What each lab is asked for: its own words, and nothing of ours that it does not know."""

import hmac
from base64 import urlsafe_b64decode
from typing import Any

import pytest

from partners.contract import Job
from partners.labs.kling import token
from partners.registry import ADAPTERS

VIDEO = {"prompt": "dusk", "seconds": 5, "aspect_ratio": "16:9", "seed": 7}
STILL = {"prompt": "dusk", "size": "1024x768", "seed": 7}
FRAME = "https://files.example/frame.png"

ASKED: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    (
        "runway",
        VIDEO,
        "/v1/text_to_video",
        {"model": "m", "promptText": "dusk", "duration": 5, "ratio": "16:9", "seed": 7},
    ),
    (
        "runway",
        {"prompt": "dusk", "image": FRAME},
        "/v1/image_to_video",
        {"model": "m", "promptText": "dusk", "promptImage": FRAME},
    ),
    (
        "luma",
        {"prompt": "dusk", "seconds": 5, "image": FRAME},
        "/dream-machine/v1/generations",
        {
            "model": "m",
            "prompt": "dusk",
            "duration": "5s",
            "keyframes": {"frame0": {"type": "image", "url": FRAME}},
        },
    ),
    (
        "bfl",
        STILL,
        "/v1/m",
        {"prompt": "dusk", "seed": 7, "width": 1024, "height": 768, "output_format": "png"},
    ),
    (
        "kling",
        {"prompt": "dusk", "seconds": 5},
        "/v1/videos/text2video",
        {"model_name": "m", "external_task_id": "run-1", "prompt": "dusk", "duration": "5"},
    ),
    (
        "minimax",
        {"prompt": "dusk", "seconds": 6, "image": FRAME},
        "/v1/video_generation",
        {"model": "m", "prompt": "dusk", "duration": 6, "first_frame_image": FRAME},
    ),
    (
        "seedance",
        {"prompt": "dusk", "seconds": 5, "sound": True, "image": FRAME},
        "/api/v3/contents/generations/tasks",
        {
            "model": "m",
            "content": [
                {"type": "text", "text": "dusk"},
                {"type": "image_url", "image_url": {"url": FRAME}, "role": "first_frame"},
            ],
            "duration": 5,
            "generate_audio": True,
        },
    ),
    (
        "veo",
        {"prompt": "dusk", "seconds": 8, "aspect_ratio": "16:9"},
        "/v1beta/models/m:predictLongRunning",
        {
            "instances": [{"prompt": "dusk"}],
            "parameters": {"durationSeconds": 8, "aspectRatio": "16:9"},
        },
    ),
    (
        "openai",
        {"prompt": "dusk", "size": "1024x1024", "count": 2},
        "/v1/images/generations",
        {"model": "m", "prompt": "dusk", "size": "1024x1024", "n": 2, "output_format": "png"},
    ),
    ("ideogram", {"prompt": "dusk"}, "/v2/image/generate/m", {"prompt": "dusk"}),
]


@pytest.mark.parametrize(("name", "inputs", "path", "body"), ASKED)
def test_a_job_is_put_in_the_labs_words(
    name: str, inputs: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    adapter: Any = ADAPTERS[name]()
    assert adapter.asked(Job("run-1", "m", inputs)) == (path, body)


def opened(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_klings_token_is_signed_and_expires() -> None:
    head, claims, signature = token("ak", "sk", 1_000_000.0).split(".")
    assert opened(head) == b'{"alg": "HS256", "typ": "JWT"}'
    assert opened(claims) == b'{"iss": "ak", "exp": 1001800, "nbf": 999995}'
    assert opened(signature) == hmac.digest(b"sk", f"{head}.{claims}".encode(), "sha256")


@pytest.mark.parametrize("name", sorted(set(ADAPTERS) - {"house", "rehearsal"}))
def test_no_lab_is_on_sale_before_it_describes_a_model(name: str) -> None:
    assert ADAPTERS[name].describe() == ()
