"""Run a script of tests/clients_js under Node.js."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.running import ROOT, Stack

FOLDER: Path = ROOT / "tests" / "clients_js"


def told_by(script: str, stack: Stack, *arguments: str, **environ: str) -> Any:
    """The JSON that the script prints last."""
    known = {
        "KINORA_URL": stack.url,
        "KINORA_KEY": stack.key,
        "KINORA_OTHER_KEY": stack.other_key,
    }
    done = subprocess.run(
        ["node", script, *arguments],
        cwd=FOLDER,
        env=os.environ | known | environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
