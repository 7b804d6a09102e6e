"""Where the embedded services keep things. Imports nothing of Django: settings read it."""

import hashlib
import tempfile
from pathlib import Path

LONGEST_SOCKET = 90  # sun_path holds 107 bytes, PostgreSQL adds `/.s.PGSQL.5432.lock`


def sockets(data: Path) -> Path:
    """The folder of unix sockets: in `data`, or a short one where that path is too long."""
    inside = data / "sockets"
    if len(str(inside)) <= LONGEST_SOCKET - 20:
        return inside
    digest = hashlib.sha256(str(data).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"kinora-{digest}"
