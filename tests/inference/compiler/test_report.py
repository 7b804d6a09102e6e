"""The report can be asked for by name, and tells of a published model without its weights."""

from __future__ import annotations

import json

import pytest

from inference.__main__ import main
from inference.compiler.published import combined, report_of
from inference.compiler.report import CoverageReport, Row
from inference.kernels import Exactness


def asked(*words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", ["inference", *words])
    main()
    return capsys.readouterr().out


def test_the_command_prints_calls_and_coverage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = asked(
        "report", "sd3.5-large", "--tiny", "--json", monkeypatch=monkeypatch, capsys=capsys
    )
    plan = json.loads(told)
    assert len(plan["lines"]) == sum(plan["report"]["templates"].values())
    assert plan["report"]["patterns"]["A"]["sites"] == 8
    assert plan["report"]["exactness"] == "E1"


def test_an_unknown_model_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        asked("report", "dall-e", monkeypatch=monkeypatch, capsys=capsys)
    assert "invalid choice: 'dall-e' (choose from" in capsys.readouterr().err


def test_blocks_are_added_row_by_row() -> None:
    def report(**rows: Row) -> CoverageReport:
        return CoverageReport(Exactness.E1, rows, {"norm": 2})

    base, more = report(A=Row(4, 8, 100, 10)), report(A=Row(6, 12, 150, 15), B=Row(1, 1, 7, 7))
    whole = combined(combined(base, more, 3), base, -3)
    assert whole.patterns == {"A": Row(10, 20, 250, 25), "B": Row(3, 3, 21, 21)}
    assert whole.templates == {"norm": 2}
    assert whole.share("A") == 250 / 271


@pytest.mark.proofs
def test_a_published_models_kernels_and_bytes_are_those_of_its_architecture() -> None:
    report = report_of("sd3.5-large")
    found = {letter: (row.sites, row.kernels) for letter, row in report.patterns.items()}
    assert found == {
        "A": (152, 1216), "B": (152, 608), "C": (150, 300), "D": (75, 75), "E": (114, 114),
        "F": (1, 1), "G": (0, 0),
    }  # fmt: skip
    assert 115e9 < report.eager_bytes < 116e9
    assert report.fused_bytes < 37e9
    assert report.share("ABCD") > 0.91
