"""The main job: two prompts, two files, two receipts, and a ledger that sums to 0."""

from pathlib import Path
from typing import LiteralString

import av
import psycopg
import pytest
from PIL import Image

from marketplace.accounts.keys import digest
from marketplace.embedded.demo import Api, JobFailed, follow, main_job
from tests.running import Stack

LABELS = [
    "prompt", "file", "run", "time", "route", "reason", "units", "price", "quote", "held",
    "captured", "given back", "balance", "ledger",
]  # fmt: skip


def balance(stack: Stack) -> int:
    """The team's spendable money, nano-units."""
    return int(Api(stack.url, stack.key).call("/api/v1/balance")["available"]["nano"])


def captured(stack: Stack) -> int:
    """All that the team was ever charged, nano-units."""
    return one(
        stack,
        """SELECT coalesce(sum(h.captured), 0)::bigint FROM ledger_hold h
             JOIN accounts_apikey k ON k.team_id = h.team_id WHERE k.digest = %s""",
        digest(stack.key),
    )


def one(stack: Stack, question: LiteralString, *values: object) -> int:
    with psycopg.connect(stack.conninfo) as connection:
        row = connection.execute(question, values).fetchone()
    assert row is not None
    return int(row[0])


def test_the_main_job_makes_two_files_and_charges_exactly(stack: Stack, tmp_path: Path) -> None:
    before, charged = balance(stack), captured(stack)
    drawn, said = list[str](), list[str]()
    main_job(Api(stack.url, stack.key), tmp_path, draw=drawn.append, say=said.append)

    with Image.open(tmp_path / "kinora-glyph.png") as picture:
        assert picture.size == (256, 256)
    with av.open(tmp_path / "rehearsal-clip.mp4") as clip:
        assert [stream.type for stream in clip.streams] == ["video", "audio"]
        assert sum(1 for _ in clip.decode(video=0)) == 5 * 24

    assert [[line[2:15].strip() for line in text.splitlines()[3:-1]] for text in said] == [
        LABELS
    ] * 2
    assert any("█" in line for line in drawn)
    assert "Σ = 0 over" in said[0]
    assert "captured     $0.05\n" in said[1]
    assert before - balance(stack) == captured(stack) - charged
    assert one(stack, "SELECT sum(amount) FROM ledger_entry") == 0
    assert one(stack, "SELECT count(*) FROM ledger_hold WHERE state = 'open'") == 0


def test_a_refused_job_is_told_in_the_api_s_own_words_and_costs_nothing(stack: Stack) -> None:
    api, before = Api(stack.url, stack.key), balance(stack)
    refused = {"model": "rehearsal/still", "inputs": {"prompt": "x", "behaviour": "refuse"}}
    run = follow(api, api.call("/api/v1/runs", refused), draw=lambda _line: None)
    assert run["state"] == "failed"
    assert run["cost"]["state"] == "voided"
    assert balance(stack) == before
    with pytest.raises(JobFailed, match=r"401 .*not_authenticated"):
        Api(stack.url, stack.key[:-1] + "x").call("/api/v1/balance")
