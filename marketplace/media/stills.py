"""Pictures of a clip that we keep: its first frame, or a sheet of frames from all over it.

Labs made the clips, so a child process with limits decodes them; two at a time, the last few kept.
"""

import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from threading import BoundedSemaphore

from marketplace.errors import Busy, NotFound
from marketplace.media import store

CHILD = Path(__file__).with_name("stills_child.py")
KINDS = {"thumbnail": "image/webp", "spritesheet": "image/jpeg"}
SECONDS = 30.0  # a decoder that takes longer is killed
AT_ONCE = 2
WAITED = 20.0  # seconds for one of them to be free
KEPT = 64
slots = BoundedSemaphore(AT_ONCE)


@lru_cache(maxsize=KEPT)
def drawn(name: str, kind: str) -> bytes:
    """The picture of a stored clip; kind: one of KINDS. Raises NotFound, Busy."""
    if not slots.acquire(timeout=WAITED):
        raise Busy("Too many pictures of clips are being drawn. Try again.", retry_after=2)
    try:
        with store.local(name) as clip:
            done = subprocess.run(
                [sys.executable, "-I", str(CHILD), str(clip), kind],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, env={}, check=True,
            )  # fmt: skip
    except (FileNotFoundError, subprocess.SubprocessError):
        raise NotFound(f"There is no {kind} of this clip.") from None
    finally:
        slots.release()
    return done.stdout
