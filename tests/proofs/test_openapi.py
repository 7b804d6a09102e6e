"""Thousands of generated requests after our own OpenAPI document: no 5xx, no answer beside it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import Stack, running_stack

pytestmark = pytest.mark.proofs

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)
LEAST = 5000  # cases
GENERATED = re.compile(r"(\d+) generated")


def schemathesis(stack: Stack, *, examples: int) -> str:
    """What it printed. Raises AssertionError with it where an answer was wrong."""
    found = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "run",
            f"{stack.url}/api/v1/openapi.json", "-H", f"Authorization: Bearer {stack.key}",
            "--checks", CHECKS, "--max-examples", str(examples), "--phases", "coverage,fuzzing",
            "--exclude-path-regex", "/events$", "--suppress-health-check", "all",
            "--request-timeout", "30", "--no-color", "--continue-on-failure", "--seed", "1",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout[-20_000:]
    return found.stdout


def test_every_answer_is_one_that_the_document_names() -> None:
    with running_stack(KINORA_WRITES_PER_SECOND="0", KINORA_READS_PER_SECOND="0") as stack:
        said = schemathesis(stack, examples=150)
    cases = GENERATED.search(said)
    print(f"\n{cases[0] if cases else said[-2000:]}")
    assert cases is not None
    assert int(cases[1]) >= LEAST
