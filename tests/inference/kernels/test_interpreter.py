"""Triton decides at its import whether it interprets: a process of its own for those tests."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_kernel_equals_its_reference_in_the_interpreter() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-c", ROOT / "tests/gpu/pytest.ini"),
            Path(__file__).with_name("interpreted"),
        ],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
