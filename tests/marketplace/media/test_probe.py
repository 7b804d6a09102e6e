"""What our own decoder says of files, good and hostile."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image

from marketplace.media import probe
from marketplace.media.probe import ProbeFailed, Prober
from partners import drawing


@pytest.fixture(scope="module")
def prober() -> Iterator[Prober]:
    found = Prober()
    yield found
    found.close()


def put(tmp_path: Path, content: bytes, name: str = "file") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def picture(kind: str, size: tuple[int, int] = (40, 30)) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", size, (200, 90, 30)).save(held, kind)
    return held.getvalue()


def short_clip(*, sound: bool = False, frames: int = 12, fps: int = 8) -> bytes:
    return drawing.clip("dusk", (320, 180), fps, frames, seed=0, sound=sound)


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")],
)
def test_a_picture_is_known_by_its_content(
    prober: Prober, tmp_path: Path, kind: str, content_type: str
) -> None:
    found = prober.probe(put(tmp_path, picture(kind), "movie.mp4"))
    assert (found.kind, found.content_type) == ("image", content_type)
    assert (found.width, found.height, found.frames, found.seconds) == (40, 30, None, None)


@pytest.mark.parametrize(
    ("frames", "fps", "seconds"),
    [(12, 8, "1.500000"), (1, 24, "0.041667"), (37, 24, "1.541667")],
)
def test_the_seconds_of_a_clip_are_its_frames_over_their_rate(
    prober: Prober, tmp_path: Path, frames: int, fps: int, seconds: str
) -> None:
    found = prober.probe(put(tmp_path, short_clip(frames=frames, fps=fps)))
    assert (found.kind, found.content_type, found.codec) == ("video", "video/mp4", "h264")
    assert (found.width, found.height, found.frames) == (320, 180, frames)
    assert found.seconds == Decimal(seconds)


@pytest.mark.parametrize("sound", [True, False])
def test_sound_is_heard_where_there_is_some(prober: Prober, tmp_path: Path, sound: bool) -> None:
    assert prober.probe(put(tmp_path, short_clip(sound=sound))).sound is sound


def test_a_header_that_lies_about_the_length_is_not_believed(
    prober: Prober, tmp_path: Path
) -> None:
    content = bytearray(short_clip())
    place = content.index(b"mvhd") + 4 + 4 + 8  # version and flags, two times
    scale, length = struct.unpack_from(">II", content, place)
    struct.pack_into(">II", content, place, scale, length * 128)
    assert prober.probe(put(tmp_path, bytes(content))).seconds == Decimal("1.500000")


def bomb() -> bytes:
    """A small PNG that says it is 50,000 pixels wide and high."""
    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    body = drawing.chunk(b"IHDR", head) + drawing.chunk(b"IDAT", zlib.compress(b"\0" * 50_001))
    return b"\x89PNG\r\n\x1a\n" + body + drawing.chunk(b"IEND", b"")


HOSTILE = {
    "empty": b"",
    "text": b"<html><script>alert(1)</script></html>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "a playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "a playlist called mp4": b"\0\0\0\x18ftypmp42#EXTM3U\nfile:///etc/passwd\n",
    "a cut picture": picture("PNG", (400, 300))[:200],
    "a cut clip": short_clip()[:600],
    "a clip without pictures": short_clip()[:40] + b"\0" * 4000,
    "a bomb": bomb(),
    "a gif": b"GIF89a" + b"\0" * 100,
    "noise": bytes(range(256)) * 40,
    "noise called webm": b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 40,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_and_the_next_one_is_measured(
    prober: Prober, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ProbeFailed):
        prober.probe(put(tmp_path, HOSTILE[name]))
    assert prober.probe(put(tmp_path, picture("PNG"))).width == 40


def test_a_killed_decoder_is_started_again_for_the_same_file(tmp_path: Path) -> None:
    prober = Prober()
    path = put(tmp_path, picture("PNG"))
    prober.probe(path)
    assert prober.child
    os.kill(prober.child.pid, 9)
    assert prober.probe(path).height == 30
    prober.close()


def test_a_decoder_that_takes_too_long_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "START_SECONDS", 0.5)
    os.mkfifo(tmp_path / "silent")  # opening it waits for a writer that never comes
    prober = Prober(file_seconds=0.1)
    with pytest.raises(ProbeFailed, match="ran out of time"):
        prober.probe(tmp_path / "silent")
    assert prober.child is None


def test_the_decoder_inherits_nothing_of_the_environment(tmp_path: Path) -> None:
    prober = Prober()
    prober.probe(put(tmp_path, picture("PNG")))
    assert prober.child
    assert Path(f"/proc/{prober.child.pid}/environ").read_bytes().count(b"KINORA") == 0
    prober.close()
