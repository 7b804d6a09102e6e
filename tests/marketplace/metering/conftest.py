"""A release of which prices are published."""

import pytest
from django.utils import timezone

from marketplace.catalog.models import Lab, Model, Release

SCHEMA = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string"},
        "seconds": {"type": "integer", "minimum": 1, "maximum": 10, "default": 5},
        "width": {"enum": [640, 1280], "default": 640},
        "sound": {"type": "boolean", "default": False},
        "strength": {"type": "number", "default": 1},
        "seed": {"type": "integer", "minimum": 0, "maximum": 9},
    },
}
SECOND = [{"unit": "video_second", "unit_price": "0.05"}]


@pytest.fixture
def release(db: None) -> Release:
    """lumen/reel, which nobody has priced yet."""
    lab = Lab.objects.create(slug="lumen", name="Lumen")
    model = Model.objects.create(lab=lab, slug="reel", name="Reel", task="text-to-video")
    return Release.objects.create(
        model=model, version="2026-11-20", input_schema=SCHEMA, output_kind="video",
        content_type="video/mp4", adapter="rehearsal", target="clip", queue="labs",
        published_at=timezone.now(),
    )  # fmt: skip
