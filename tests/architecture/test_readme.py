"""README tells the truth: its tree, its lists, its links and its settings."""

import re
import subprocess
from pathlib import Path

import pytest

from inference.kernels import TEMPLATES
from inference.models import REGISTRY
from marketplace.metering.units import UNITS
from partners.registry import ADAPTERS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
TREE = README.split("```")[3]
BESIDE = {"docs", "tests", "templates"}
SETTING = re.compile(r"\bKINORA_[A-Z0-9_]+")
# For one machine, or told to processes by the supervisor: not for whoever runs it in production.
EMBEDDED = {"KINORA_DATA", "KINORA_PORT", "KINORA_DATABASE_PASSWORD", "KINORA_REHEARSAL_URL",
            "KINORA_ALLOW_LOOPBACK_WEBHOOKS", "KINORA_ALLOW_LOOPBACK_FETCH"}  # fmt: skip


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(line) for line in done.stdout.splitlines()]


def folders() -> set[str]:
    """Every top folder and every room of the marketplace."""
    found = {path.parts[0] for path in tracked() if len(path.parts) > 1}
    rooms = {
        path.parts[1] for path in tracked() if path.parts[0] == "marketplace" and path.parts[2:]
    }
    return {name for name in found | rooms if not name.startswith(".")}


def test_the_tree_names_every_folder_and_no_other() -> None:
    named = set(re.findall(r"^ *([a-z]+)/", TREE, re.MULTILINE))
    inner = {"labs", "bench", "compiler", "kernels", "models", "train", "weights"}
    assert named == folders() | inner


def test_the_tree_names_files_that_exist() -> None:
    tree, folder = TREE.splitlines(), ""
    missing = []
    for line in tree:
        words = line.split()
        if words and not line.startswith(" "):
            folder = words[0]
        files = [word for word in re.split(r"\s{2,}", line.strip())[0].split() if "." in word]
        missing += [folder + file for file in files if not (ROOT / folder / file).exists()]
    assert missing == []


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("A lab", ADAPTERS),
        ("A model of our own", REGISTRY),
        ("A kernel template", TEMPLATES),
        ("A unit", UNITS),
    ],
)
def test_the_lists_name_what_the_registries_hold(heading: str, names: dict[str, object]) -> None:
    section = README.split(f"**{heading}.**")[1].split("\n\n")[0]
    listed = re.findall(r"`(\w+)`", section.rpartition("There are:")[2])
    assert sorted(listed) == sorted(names)


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_it_names_every_setting() -> None:
    read = SETTING.findall((ROOT / "marketplace" / "settings.py").read_text())
    assert sorted(set(read) - set(SETTING.findall(README)) - EMBEDDED) == []


def test_every_command_of_the_makefile_is_explained() -> None:
    help_text = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    explained = re.findall(r"^make (\w+)", help_text, re.MULTILINE)
    assert explained == ["help", "run", "test", "prove", "check", "bench", "clean"]
