"""A first frame that cannot be taken is told by its field; one that can is upright and in RGB."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from PIL import Image

from inference import media
from inference.attempt import failure
from inference.models import clips
from inference.models.contract import Unusable
from tests.inference.models import tiny


def address(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def file(width: int, height: int, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, form)
    return stream.getvalue()


class Shelf(BaseHTTPRequestHandler):
    """Answers with the status that its path names, and with a picture."""

    def do_GET(self) -> None:
        content = file(32, 32)
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def shelf() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Shelf) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_picture_is_fetched_in_rgb(shelf: str) -> None:
    assert clips.fetched(f"{shelf}/200").mode == "RGB"
    assert clips.fetched(media.data_uri(tiny.picture(20, 30))).size == (20, 30)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("file:///etc/passwd", "must be an http or data address."),
        ("data:image/png;base64", "must be an http or data address."),
        (address(b"words"), "is no picture that can be read; use PNG, JPEG or WebP."),
        (address(file(64, 64)[:60]), "is no picture that can be read"),
        (address(file(64, 64, "JPEG")[:300]), "is no picture that can be read"),
        (address(file(8, 500)), "is 8 × 500; each side needs 16 pixels."),
        (address(file(9000, 9000)), "has too many pixels; allowed are 64 million."),
        (address(file(15000, 15000)), "has too many pixels; allowed are 64 million."),
    ],
)
def test_what_is_no_usable_picture_is_an_invalid_input(given: str, why: str) -> None:
    with pytest.raises(Unusable) as caught:
        clips.fetched(given)
    assert str(caught.value).startswith(f"inputs.image {why}")
    told = failure(caught.value)
    assert (told.code, told.message, told.retry) == ("invalid_input", str(caught.value), False)


def test_one_that_is_too_long_is_an_invalid_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "MOST_BYTES", 2_000_000)
    with pytest.raises(Unusable, match=r"inputs\.image is larger than 2 MB\."):
        clips.fetched(address(bytes(2_000_001)))


def test_one_that_is_gone_is_an_invalid_input(shelf: str) -> None:
    with pytest.raises(Unusable, match=r"inputs\.image cannot be fetched: its address answers 404"):
        clips.fetched(f"{shelf}/404")


def test_one_that_cannot_be_fetched_just_now_is_tried_again(shelf: str) -> None:
    with pytest.raises(OSError, match="503") as caught:
        clips.fetched(f"{shelf}/503")
    told = failure(caught.value)
    assert (told.code, told.retry) == ("engine_error", True)
