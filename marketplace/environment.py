"""Typed readers of the environment. A wrong value stops the start and names its variable.

A secret NAME is read from NAME, else from the file that NAME_FILE names; the embedded stack
makes missing ones under its data folder, production refuses to start without them.
"""

import os
import secrets
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def integer(name: str, default: int) -> int:
    value = os.environ.get(name)
    if value is None:
        return default
    try:
        return int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None


def boolean(name: str, *, default: bool) -> bool:
    value = os.environ.get(name)
    if value is None:
        return default
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise ImproperlyConfigured(f"{name} must be one of 1, 0, true, false; not {value!r}.")


def networks(name: str) -> list[str]:
    """Ranges of addresses, such as 203.0.113.0/28, between spaces or commas."""
    try:
        return [str(ip_network(said)) for said in text(name).replace(",", " ").split()]
    except ValueError as fault:
        raise ImproperlyConfigured(f"{name} must hold ranges of addresses: {fault}.") from None


def address(name: str) -> str:
    """An address of HTTP without a slash at its end; empty where none is said."""
    said = text(name).rstrip("/")
    parts = urlsplit(said)
    if said and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query):
        raise ImproperlyConfigured(f"{name} must be an address such as http://10.0.0.7:8000.")
    return said


def secret(name: str, *, folder: Path | None) -> str:
    """The secret called `name`; made once under `folder` (mode 600) where that is given."""
    if value := os.environ.get(name):
        return value
    if named := os.environ.get(f"{name}_FILE"):
        return Path(named).read_text().strip()
    if folder is None:
        raise ImproperlyConfigured(f"Set {name} or {name}_FILE.")
    return kept_secret(folder / name.lower())


def optional_secret(name: str) -> str:
    """The secret called `name`, or nothing."""
    named = os.environ.get(f"{name}_FILE")
    return Path(named).read_text().strip() if named else os.environ.get(name, "")


def kept_secret(path: Path) -> str:
    """Read `path`, or write 43 random characters there first. Safe against a race of two starts."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    value = secrets.token_urlsafe(32)
    with os.fdopen(handle, "w") as file:
        file.write(value)
    return value
