"""The benchmark rehearsed without a GPU: its arithmetic, what it says of failures, going on."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.bench import columns, report
from inference.bench.__main__ import main
from inference.bench.cases import CASES, build, inputs_of, twin
from inference.bench.clock import Overran, at_most, by_turns
from inference.bench.probe import probe
from inference.bench.split import kind_of, of_kernels

WAN = "wan-2.1-1.3b"


def test_a_rehearsal_reports_every_column_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    said: list[str] = []
    out = tmp_path / "bench.json"
    given = ["--tiny", "--only", WAN, "--out", str(out)]
    main([*given, "--columns", "liger"], said.append)
    main([*given, "--columns", "ours", "liger"], said.append)
    main([*given, "--columns", "ours"], said.append)
    assert said[-1] == f"{WAN}: already there"
    rows = json.loads(out.read_text())["models"][WAN]["columns"]
    assert list(rows) == ["eager", "liger", "ours"]
    assert rows["liger"]["status"] == "absent: liger_kernel is not installed"
    assert "ms" not in rows["liger"]
    ours = rows["ours"]
    assert ours["status"] == "ok"
    assert ours["same_bits"]
    assert ours["block_error_of_eagers"] == 1.0
    assert ours["plans"]["name"] == "templates"
    assert ours["plans"]["graphs"][0]["covered"] > 0.9
    assert ours["samples"] >= 3
    table = out.with_suffix(".md").read_text()
    assert re.search(r"\| ours \| E1 \| [\d.]+ \([\d.]+–[\d.]+\) .* same bits \| ok \|", table)
    assert re.search(r"\| liger \| E1 \|[ |]+absent: liger_kernel is not installed \|", table)


def test_a_column_that_cannot_be_prepared_is_stated_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: Any, inputs: Any) -> columns.Ready:
        raise RuntimeError("no such\nkernel")

    def endless(model: Any, inputs: Any) -> columns.Ready:
        time.sleep(60)
        raise AssertionError

    for name, prepare in [("torchao fp8", endless), ("cache-dit", broken)]:
        monkeypatch.setitem(columns.COLUMNS, name, columns.Column(columns.E1, prepare))
    out = tmp_path / "bench.json"
    main(["--tiny", "--only", WAN, "--out", str(out), "--budget", "0.03", "--columns",
          "cache-dit", "torchao fp8", "compile autotuned"], lambda _: None)  # fmt: skip
    rows = json.loads(out.read_text())["models"][WAN]["columns"]
    assert rows["cache-dit"]["status"] == "failed: RuntimeError: no such kernel"
    assert rows["torchao fp8"]["status"].startswith("failed: Overran: stopped after")
    assert rows["compile autotuned"]["status"] == "skipped: the time for this model was used up"
    assert rows["eager"]["gain"] == 1.0


def test_a_model_needs_a_gpu_or_a_rehearsal(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit):
        main(["--only", WAN])
    assert "no GPU here: --tiny rehearses on the CPU" in capsys.readouterr().err


@pytest.mark.parametrize("name", CASES)
def test_every_case_can_be_built_and_run_from_one_seed(name: str) -> None:
    case = CASES[name]
    with torch.no_grad():
        model, inputs = build(case, "cpu", tiny=True), inputs_of(case, "cpu", tiny=True)
        seen = probe(model, inputs)
        assert seen.output.isfinite().all()
        assert torch.equal(build(case, "cpu", tiny=True)(**inputs)[0], seen.output)
        assert torch.equal(twin(model)(**inputs)[0], seen.output)
    assert min(seen.flops.values()) > 0
    assert {id(one) for one in twin(model).parameters()} == {id(one) for one in model.parameters()}


def test_arithmetic_is_counted_as_it_is() -> None:
    case = CASES[WAN]
    with torch.no_grad():
        model, inputs = build(case, "cpu", tiny=True), inputs_of(case, "cpu", tiny=True)
        flops = probe(model, inputs).flops
    tokens, text, width = 256, 24, 128
    assert flops["attention"] == 2 * 4 * tokens * (tokens + text) * width  # of two blocks
    block = tokens * (6 * width**2 + 2 * width * 512) + text * 2 * width**2
    assert 4 * block < flops["products"] < 4.4 * block  # two blocks, two operations, embeddings


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nvjet_hsh_256x128_64x4_1x2_h_bz_coopA_NTT", "products"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", "products"),
        ("void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16>", "products"),
        ("triton_tem_fused_addmm_3", "products"),
        ("void cudnn::ops::nhwc_to_nchw", "elementwise"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16", "attention"),
        ("void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits>", "attention"),
        ("fmha_cutlassF_bf16_aligned_64x128_rf_sm80", "attention"),
        ("void at::native::vectorized_elementwise_kernel<4>", "elementwise"),
        ("triton_per_fused_add_mul_native_layer_norm_2", "elementwise"),
        ("kernel", "elementwise"),
        ("aten::addmm", "products"),
    ],
)
def test_kernels_are_told_apart_by_name(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_gaps_are_where_no_kernel_runs() -> None:
    found = of_kernels([(0.0, 2.0, "gemm"), (1.0, 3.0, "copy"), (5.0, 6.0, "flash")])
    assert (found.products, found.elementwise, found.attention) == (2.0, 2.0, 1.0)
    assert found.gaps == 2.0
    assert found.launches == 3
    assert found.kernels == ["flash"]


def test_columns_take_turns_and_stop_when_time_is_up() -> None:
    order: list[str] = []
    runs = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    times = by_turns(runs, until=0.0, gpu=False)
    assert order == ["a", "b"] * 3
    assert times["a"].samples == 3


def test_what_takes_too_long_is_interrupted() -> None:
    with pytest.raises(Overran, match="stopped after 0 seconds"), at_most(0.05):
        time.sleep(5)


def test_what_was_skipped_or_failed_is_tried_again() -> None:
    rows = {
        "a": {"status": "ok", "ms": 1.0},
        "b": {"status": "skipped: the time for this model was used up"},
        "c": {"status": "failed: RuntimeError"},
        "d": {"status": "absent: it is not installed"},
    }
    assert report.settled({"models": {"m": {"columns": rows}}}, "m") == {"a", "d"}
    assert report.settled({"models": {}}, "m") == set()


def test_figures_of_columns_that_were_not_measured_again_stay() -> None:
    made: dict[str, Any] = {"models": {"m": {"note": "old", "columns": {"a": 1, "b": 1}}}}
    report.merge(made, "m", {"note": "new", "columns": {"b": 2, "c": 2}})
    assert made["models"]["m"] == {"note": "new", "columns": {"a": 1, "b": 2, "c": 2}}
