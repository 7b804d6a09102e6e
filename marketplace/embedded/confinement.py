"""How an embedded server is started: never as root, and never outliving the process that starts it.

PostgreSQL refuses to run as root, so root hands the servers to `nobody`. Knows no server.
"""

import os
import pwd
import subprocess
from functools import lru_cache
from pathlib import Path

OWNER = "nobody"
# access(2) asks the real user and forgets its capabilities unless this bit is set.
KEEP = "--securebits=+no_setuid_fixup"
# Least first. The wheel or the data may lie below a folder such as /root that only root may enter;
# containers often grant the second capability and not the first.
CAPABILITIES = ("", "dac_read_search", "dac_override")


class CannotConfine(RuntimeError):
    """No unprivileged account of this machine can reach the servers' files."""


def dying_with_parent(signal: str = "KILL") -> list[str]:
    """A prefix for commands that must end when the thread that starts them ends."""
    return ["setpriv", "--pdeathsig", signal, "--"]


def confined(program: Path, folder: Path, *, signal: str = "KILL") -> list[str]:
    """A prefix under which `program` runs unprivileged, can use `folder` and dies with us."""
    if os.geteuid() != 0:
        return dying_with_parent(signal)
    return [*unprivileged(program, folder), "--pdeathsig", signal, "--"]


@lru_cache(maxsize=8)
def unprivileged(program: Path, folder: Path) -> tuple[str, ...]:
    """The `setpriv` options with the fewest capabilities that still reach both paths."""
    for capability in CAPABILITIES:
        options = setpriv(capability)
        reaches = ["sh", "-c", 'test -x "$1" && test -w "$2"', "sh", str(program), str(folder)]
        probe = [*options, "--", *reaches]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return options
    raise CannotConfine(
        f"As root, {program.name} runs as `{OWNER}`, who cannot reach {folder} or {program}. "
        "Choose another folder with DATA=, or start as an ordinary user."
    )


def setpriv(capability: str) -> tuple[str, ...]:
    user = pwd.getpwnam(OWNER)
    options = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    if not capability:
        return options
    return (*options, KEEP, f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}")


def own(folder: Path) -> Path:
    """Make `folder` (mode 700) for the account that the servers run under."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    give(folder)
    return folder


def give(path: Path) -> None:
    """Make `path` belong to the account that the servers run under."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(OWNER)
        os.chown(path, user.pw_uid, user.pw_gid)
