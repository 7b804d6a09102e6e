"""Thousands of generated requests after our own OpenAPI documents: no 5xx, no answer beside them.

The native API's document, and the one of every model's endpoint as fal's clients know it.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.proofs.figures import keep
from tests.running import ROOT, Stack, running_stack

CHECKS = (
    "no_fault_of_ours,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
LEAST = 5000  # cases
GENERATED = re.compile(r"(\d+) generated")
OPERATIONS = re.compile(r"(\d+) selected")


@dataclass(frozen=True)
class Document:
    """One of our documents. scheme: how its key is sent."""

    name: str
    url: str
    scheme: str


@contextmanager
def unlimited() -> Iterator[Stack]:
    """A stack without limits of requests, whose team may do everything and has enough to spend."""
    with running_stack(KINORA_WRITES_PER_SECOND="0", KINORA_READS_PER_SECOND="0") as stack:
        fund(stack, dollars=10_000)
        with psycopg.connect(stack.conninfo) as link:
            link.execute("""UPDATE accounts_apikey SET scopes = '["run", "read", "manage"]'""")
        yield stack


def fund(stack: Stack, *, dollars: int) -> None:
    team = json.loads((stack.data / "demo.json").read_text())["logins"][0]["team"]
    plain = {name: said for name, said in os.environ.items() if not name.startswith("KINORA_")}
    where = {"KINORA_DATA": str(stack.data), "KINORA_PORT": str(urlsplit(stack.url).port)}
    subprocess.run(
        [sys.executable, "manage.py", "grant_credit", team, str(dollars), "--reference", "proof"],
        cwd=ROOT, env=plain | where, check=True, capture_output=True,
    )  # fmt: skip


def documents(stack: Stack) -> list[Document]:
    """All that we publish."""
    with urllib.request.urlopen(f"{stack.url}/fal/api/v1/models", timeout=10) as answer:
        models = [one["endpoint_id"] for one in json.load(answer)["models"]]
    address = f"{stack.url}/fal/api/openapi/queue/openapi.json?endpoint_id="
    return [
        Document("native", f"{stack.url}/api/v1/openapi.json", "Bearer"),
        *(Document(f"fal: {model}", address + model, "Key") for model in models),
    ]


def schemathesis(stack: Stack, document: Document, *, examples: int, phases: str) -> int:
    """How many cases there were. Raises AssertionError with them where an answer was wrong."""
    found = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "run", document.url,
            "-H", f"Authorization: {document.scheme} {stack.key}",
            "--checks", CHECKS, "--max-examples", str(examples), "--phases", phases,
            "--exclude-path-regex", "/events$", "--suppress-health-check", "all",
            "--request-timeout", "30", "--no-color", "--continue-on-failure", "--seed", "1",
        ],
        cwd=stack.data, capture_output=True, text=True, check=False,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.proofs.openapi_checks",
                          "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert found.returncode == 0, found.stdout[-20_000:]
    cases = GENERATED.search(found.stdout)
    assert cases is not None, found.stdout[-2000:]
    return int(cases[1])


def checked(*, examples: int, phases: str, models: int | None = None) -> dict[str, int]:
    """Document → how many cases it had; of all models' endpoints, or of the first few."""
    with unlimited() as stack:
        native, *endpoints = documents(stack)
        return {
            document.name: schemathesis(stack, document, examples=examples, phases=phases)
            for document in (native, *endpoints[:models])
        }


@pytest.mark.proofs
def test_every_answer_is_one_that_a_document_names() -> None:
    cases = checked(examples=70, phases="examples,coverage,fuzzing")
    found = cases | {
        "all": sum(cases.values()),
        "5xx of our making": 0,
        "answers beside their document": 0,
    }
    keep("requests generated from our OpenAPI documents", found, file="openapi")
    assert sum(cases.values()) >= LEAST


def test_a_few_answers_of_every_address_are_those_of_its_document() -> None:
    cases = checked(examples=4, phases="fuzzing", models=2)
    assert cases["native"] > 100
    assert min(cases.values()) > 10
