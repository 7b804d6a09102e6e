"""Calls into this machine are for the embedded stack alone."""

import os
import subprocess
import sys

import pytest

from tests.running import ROOT

READ = "from marketplace import settings; print(settings.ALLOW_LOOPBACK_WEBHOOKS)"
SECRETS = ("SECRET_KEY", "DATABASE_PASSWORD", "WEBHOOK_SECRET", "WEBHOOK_SIGNING_KEY")


def read(**settings: str) -> "subprocess.CompletedProcess[str]":
    plain = {name: value for name, value in os.environ.items() if not name.startswith("KINORA_")}
    known = {f"KINORA_{name}": "x" for name in SECRETS}
    return subprocess.run(
        [sys.executable, "-c", READ], cwd=ROOT, env=plain | known | settings,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_they_are_off_unless_asked_for() -> None:
    assert read().stdout == "False\n"
    assert read(KINORA_ALLOW_LOOPBACK_WEBHOOKS="1").stdout == "True\n"


@pytest.mark.parametrize(
    "elsewhere",
    [{"KINORA_PRODUCTION": "1"}, {"KINORA_DATABASE_URL": "postgresql://k@db/k"}],
)
def test_they_are_refused_outside_the_embedded_stack(elsewhere: dict[str, str]) -> None:
    refused = read(KINORA_ALLOW_LOOPBACK_WEBHOOKS="1", **elsewhere)
    assert refused.returncode != 0
    assert "KINORA_ALLOW_LOOPBACK_WEBHOOKS is for the embedded stack only." in refused.stderr
