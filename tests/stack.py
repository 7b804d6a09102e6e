"""A pytest plugin: PostgreSQL and Redis of the embedded stack, up before Django's settings load.

The first process of a session starts them in a temporary folder; the workers of pytest-xdist
inherit KINORA_TEST_STACK and share them, each with a test database of its own.
"""

import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from marketplace.embedded.postgres import Postgres
from marketplace.embedded.redis import RedisServer
from marketplace.embedded.supervisor import Supervisor

MARK = "KINORA_TEST_STACK"
SETTINGS = {
    "KINORA_SECRET_KEY": "tests",
    "KINORA_DATABASE_PASSWORD": "tests",
    "KINORA_LOG": "WARNING",
}

CLIENTS = Path(__file__).parent / "clients_js"
LACKING = {
    "browser": ("Chromium", lambda: bool(shutil.which("chromium"))),
    "node": (
        "Node.js with the packages of tests/clients_js",
        lambda: (
            bool(shutil.which("node"))
            and (CLIENTS / "node_modules" / ".package-lock.json").is_file()
        ),
    ),
    "gpu": ("CUDA device", lambda: Path("/dev/nvidia0").exists()),
}


class Servers:
    """The two servers of one test session and the folder they live in."""

    def __init__(self) -> None:
        self.data = Path(tempfile.mkdtemp(prefix="kinora-tests-"))
        self.supervisor = Supervisor(self.data, say=print)

    def start(self) -> None:
        password = SETTINGS["KINORA_DATABASE_PASSWORD"]
        postgres = Postgres(self.data, password, durable=False)
        self.supervisor.start(postgres.program(), RedisServer(self.data).program())
        self.supervisor.wait("postgres", "redis")

    def stop(self) -> None:
        self.supervisor.stop()
        shutil.rmtree(self.data, ignore_errors=True)


started: list[Servers] = []


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Generator[None]:
    """Before pytest-django loads the settings: wrappers run first."""
    if MARK not in os.environ:
        servers = Servers()
        started.append(servers)
        os.environ |= SETTINGS | {"KINORA_DATA": str(servers.data), MARK: str(servers.data)}
        servers.start()
    return (yield)


def pytest_unconfigure() -> None:
    while started:
        started.pop().stop()
        os.environ.pop(MARK, None)


def lacking() -> dict[str, str]:
    """Marker → what this machine does not have."""
    return {mark: what for mark, (what, there) in LACKING.items() if not there()}


@pytest.hookimpl(trylast=True)  # the folders' own markers are there
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the machine cannot run, mark what needs a stack, put Chromium's last.

    Playwright leaves an event loop running in its process, which Django refuses to work under.
    """
    missing = lacking()
    left_out = [item for item in items if any(item.get_closest_marker(m) for m in missing)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.stack)
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for mark, what in lacking().items():
        terminalreporter.write_line(
            f"left out: tests marked {mark}, since this machine has no {what}"
        )
