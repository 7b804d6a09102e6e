"""Every way in which this market prices generation can be said here, at prices that are public.

Each row names who prices so and where that was read, in November 2026.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from marketplace.catalog.models import Release
from marketplace.metering.bounds import check
from marketplace.metering.meter import meter
from marketplace.metering.quote import book_of, quote
from marketplace.metering.units import UNITS, Facts, unit_of

FACTS = Facts(
    timeout_seconds=300,
    published={
        "tokens": {"text_in": 1_000, "image_in": 2_000, "image_out": 6_240},
        "gpu_seconds_per_step": 1,
    },
)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NIGHT = datetime(2026, 11, 20, 23, tzinfo=UTC)


def flat(unit: str, price: str, **more: Any) -> list[dict[str, Any]]:
    return [{"unit": unit, "unit_price": price, **more}]


def by(unit: str, name: str, prices: dict[Any, str], **more: Any) -> list[dict[str, Any]]:
    rows = [{"when": {name: value}, "unit_price": price} for value, price in prices.items()]
    return [{"unit": unit, "table": rows, **more}]


LTX = by("video_second", "resolution", {"1080p": "0.04", "1440p": "0.08", "2160p": "0.16"})
KLING = flat("video_second", "0.10", factors=[{"when": {"sound": True}, "factor": "1.5"}])
VEO = flat("video_second", "0.10", factors=[{"when": {"sound": True}, "factor": "1.4"}])
CLIPS = [
    {
        "unit": "request",
        "table": [
            {"when": {"resolution": "768p", "seconds": 6}, "unit_price": "0.28"},
            {"when": {"resolution": "768p", "seconds": 10}, "unit_price": "0.56"},
            {"when": {"resolution": "1080p", "seconds": 6}, "unit_price": "0.49"},
        ],
    }
]
FRAMES = "inputs.height * inputs.width * (inputs.video_seconds + usage.video_second) * 24 / 1024"
SEEDANCE = flat(
    "token", "0.000007", quantity=FRAMES, factors=[{"when": {"has_video": True}, "factor": "0.6"}]
)
WIDE = {"height": 720, "width": 1280, "seconds": 5}
GPT_IMAGE = [
    {"unit": "token:text_in", "unit_price": "0.000005"},
    {"unit": "token:image_in", "unit_price": "0.00001"},
    {"unit": "token:image_out", "unit_price": "0.00004"},
]
MANY_GPUS = flat("gpu_second:h200", "0.001295", quantity="usage.gpu_second.h200 * inputs.gpus")
FLUX = [
    {"unit": "request", "unit_price": "0.03"},
    {
        "unit": "megapixel",
        "quantity": "inputs.count * max(0, ceil(inputs.width * inputs.height / 1000000) - 1)",
        "unit_price": "0.015",
    },
]
VIDU = flat("video_second", "0.05", factors=[{"when": {"off_peak": True}, "factor": "0.5"}])
BY_HOUR = flat("video_second", "0.05", factors=[{"between": ["22:00", "06:00"], "factor": "0.5"}])
XAI = [*flat("image", "0.07"), *flat("rejection", "0.05")]
SURCHARGE = [
    {"unit": "video_second", "unit_price": "0.10"},
    {"unit": "image", "quantity": "inputs.references", "unit_price": "0.02"},
]
RERATED = [
    *flat("video_second", "0.10"),
    *flat("video_second", "0.04", quantity="inputs.video_seconds"),
]

# who, and where it was read; lines; inputs; when; the most that it costs in nano-dollars
ROWS = [
    ("per image: fal, Replicate official, OpenRouter (F1, R1, O5)",
     flat("image", "0.002"), {"count": 3}, NOON, 6_000_000),
    ("per megapixel, exactly: fal (F1)",
     flat("megapixel", "0.03"), {"size": "1000x500"}, NOON, 15_000_000),
    ("per megapixel, rounded up: fal (F1)",
     flat("megapixel", "0.03", step="1"), {"width": 1024, "height": 1024}, NOON, 60_000_000),
    ("per megapixel, the first one flat, later ones cheaper: BFL",
     FLUX, {"width": 2048, "height": 1024, "count": 1}, NOON, 60_000_000),
    ("per second of video: fal, OpenRouter (F1, O6)",
     flat("video_second", "0.05"), {"seconds": 8}, NOON, 400_000_000),
    ("per second by resolution, LTX fast 1080p (LTX1)",
     LTX, {"resolution": "1080p", "seconds": 8}, NOON, 320_000_000),
    ("per second by resolution, LTX fast 1440p (LTX1)",
     LTX, {"resolution": "1440p", "seconds": 8}, NOON, 640_000_000),
    ("per second by resolution, LTX fast 2160p (LTX1)",
     LTX, {"resolution": "2160p", "seconds": 8}, NOON, 1_280_000_000),
    ("per second with sound: Kling 3.0, 1.5 times (T1)",
     KLING, {"seconds": 5, "sound": True}, NOON, 750_000_000),
    ("per second without sound: Kling 3.0 (T1)",
     KLING, {"seconds": 5, "sound": False}, NOON, 500_000_000),
    ("per second with sound: Veo fast, 1.4 times (T1)",
     VEO, {"seconds": 8, "sound": True}, NOON, 1_120_000_000),
    ("flat per clip by resolution and length: fal, Runway, MiniMax (F1)",
     CLIPS, {"resolution": "768p", "seconds": 10}, NOON, 560_000_000),
    ("tokens by a formula: Seedance 2.5 on fal (F24)",
     SEEDANCE, WIDE | {"video_seconds": 0, "has_video": False}, NOON, 756_000_000),
    ("tokens by a formula, 0.6 times with video inputs: Seedance 2.5 on fal (F24)",
     SEEDANCE, WIDE | {"video_seconds": 5, "has_video": True}, NOON, 907_200_000),
    ("tokens by class: gpt-image (LiteLLM #31142)",
     GPT_IMAGE, {}, NOON, 274_600_000),
    ("GPU seconds: Comfy Cloud $0.001295 (ComfyUI PR 15282)",
     flat("gpu_second", "0.001295"), {}, NOON, 388_500_000),
    ("GPU seconds × GPUs: fal serverless, Replicate, Segmind (F19, R1, SG1)",
     MANY_GPUS, {"gpus": 4}, NOON, 1_554_000_000),
    ("compute time, with published runs: Runware (RW1)",
     flat("gpu_second", "0.0006"), {"steps": 20}, NOON, 180_000_000),
    ("per second of a session, while it lasts: fal realtime",
     flat("session_second", "0.0001"), {"session_seconds": 600}, NOON, 60_000_000),
    ("per character, 1k for $0.03: text to speech at fal",
     flat("character", "0.00003"), {"text": "e\u0301t"}, NOON, 60_000),
    ("per started 1k characters: text to speech",
     flat("character", "0.00003", step="1000"), {"text": "e\u0301t"}, NOON, 30_000_000),
    ("per second of sound: speech at OpenRouter (O6)",
     flat("audio_second", "0.0001"), {"seconds": 30}, NOON, 3_000_000),
    ("per request: fal",
     flat("request", "0.05"), {}, NOON, 50_000_000),
    ("per training step: fal trainers",
     flat("training_step", "0.002"), {"steps": 1000}, NOON, 2_000_000_000),
    ("per trained LoRA: fal trainers, a flat $2",
     flat("request", "2"), {"steps": 1000}, NOON, 2_000_000_000),
    ("off-peak, delivered within 48 h, at half: Vidu (VI1)",
     VIDU, {"seconds": 4, "off_peak": True}, NOON, 100_000_000),
    ("by time of day, in the day: OpenRouter (O8)",
     BY_HOUR, {"seconds": 4}, NOON, 200_000_000),
    ("by time of day, at night: OpenRouter (O8)",
     BY_HOUR, {"seconds": 4}, NIGHT, 100_000_000),
    ("a fee for a rejection, never beside a delivery: xAI (llmgateway PR 2166)",
     XAI, {"count": 1}, NOON, 70_000_000),
    ("a surcharge per reference image: GenSpend (nodetool PR 4870)",
     SURCHARGE, {"seconds": 5, "references": 2}, NOON, 540_000_000),
    ("input video at another rate: GenSpend (nodetool PR 4870)",
     RERATED, {"seconds": 5, "video_seconds": 10}, NOON, 900_000_000),
]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "inputs", "at", "nano"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_the_market_is_priced(
    lines: list[dict[str, Any]], inputs: dict[str, Any], at: datetime, nano: int
) -> None:
    priced = quote(lines, inputs, FACTS, at)
    assert priced.maximum == nano
    assert priced.expected <= nano


def declared(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"type": "boolean", "default": value}
    if isinstance(value, str):
        return {"type": "string", "default": value}
    return {"type": "integer", "minimum": 0, "maximum": 4_096, "default": value}


@pytest.mark.parametrize(("lines", "inputs"), [row[1:3] for row in ROWS], ids=[r[0] for r in ROWS])
def test_the_market_could_be_published(lines: list[dict[str, Any]], inputs: dict[str, Any]) -> None:
    """Each is bounded for every input that a schema of its inputs allows."""
    schema = {"properties": {name: declared(value) for name, value in inputs.items()}}
    release = Release(input_schema=schema, facts=FACTS.published, timeout_seconds=300)
    check(release, lines, "USD")


def test_every_unit_has_a_row() -> None:
    counted = {unit.partition(":")[0] for row in ROWS for unit in book_of(row[1]).units}
    assert counted == set(UNITS)


def charged(lines: list[dict[str, Any]], inputs: dict[str, Any], **measured: int) -> int:
    said = {unit: Decimal(count) for unit, count in measured.items()}
    return meter(lines, inputs, FACTS, reported={}, measured=said, at=NOON).amount


def test_a_rejection_costs_its_fee_and_a_delivery_does_not() -> None:
    assert charged(XAI, {"count": 1}, image=0, rejection=1) == 50_000_000
    assert charged(XAI, {"count": 1}, image=1, rejection=0) == 70_000_000
    assert quote([*XAI[:1], *flat("rejection", "0.09")], {"count": 1}, FACTS).maximum == 90_000_000


def test_a_wrong_class_of_token_would_have_cost_eight_times_as_much() -> None:
    """LiteLLM #31142 counted text in at the price of an image out."""
    used = {"token:text_in": Decimal(1_000), "token:image_in": Decimal(0)}
    found = meter(
        GPT_IMAGE, {}, FACTS, reported=used | {"token:image_out": Decimal(0)}, measured={}
    )
    assert found.amount == 5_000_000
    assert Decimal("0.00004") / Decimal("0.000005") == 8


def test_a_formula_over_outputs_is_charged_for_what_came_out() -> None:
    inputs = WIDE | {"video_seconds": 0, "has_video": False}
    assert charged(SEEDANCE, inputs, video_second=5) == 756_000_000
    assert charged(SEEDANCE, inputs, video_second=4) == 604_800_000
    assert unit_of("video_second").upper_bound(inputs, FACTS) == 5
