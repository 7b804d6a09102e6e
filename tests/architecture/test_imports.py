"""The import contracts of pyproject.toml hold, and each names a fault that is planted."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("marketplace", "partners", "inference")
LINT = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]

HOLD, VIEW = "marketplace/ledger/hold.py", "marketplace/runs/view.py"
FAULTS = [
    ("marketplace/money.py", "import torch", "marketplace.money -> torch"),
    (HOLD, "import marketplace.runs.models", "ledger.hold -> marketplace"),
    (HOLD, "import marketplace.catalog.models", "ledger.hold -> marketplace"),
    (VIEW, "import rest_framework", "marketplace.runs.view -> rest_framework"),
    (VIEW, "import inference.wire", "marketplace.runs.view -> inference.wire"),
    ("partners/contract.py", "import django.conf", "partners.contract -> django"),
    ("partners/house.py", "import inference.engine", "partners.house -> inference.engine"),
    ("inference/wire.py", "import partners.contract", "inference.wire -> partners.contract"),
]  # fmt: skip


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(LINT, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages' source, to plant faults in."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            copied = folder / file.relative_to(ROOT)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copied)
    return folder


def test_the_contracts_hold() -> None:
    checked = lint(ROOT)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(("file", "line", "named"), FAULTS)
def test_a_planted_fault_is_named(copy: Path, file: str, line: str, named: str) -> None:
    path = copy / file
    before = path.read_text()
    path.write_text(f"{before}\n{line}\n")
    try:
        checked = lint(copy)
    finally:
        path.write_text(before)
    assert checked.returncode == 1
    assert named in checked.stdout
