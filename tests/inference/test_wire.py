"""The records round-trip through JSON, and every shipped model describes itself validly."""

from __future__ import annotations

import json
import subprocess
import sys

import jsonschema_rs
import pytest

from inference.wire import (
    WEIGHTS,
    Completion,
    Failure,
    Job,
    Output,
    Upload,
    Usage,
    describe,
    shelf,
)

UPLOADS = (Upload(0, "http://x/0", "image/png"), Upload(1, "http://x/1", "image/png"))
JOB = Job("run_1", 2, "kinora/glyph@2026-11-20", "glyph", {"prompt": "star"}, 60, 15, UPLOADS)
DONE = Completion(
    "run_1",
    2,
    "failed",
    (Output(0, "image/png", 3, "ab"),),
    Usage(1.234567, 1, 20, 9),
    Failure("timeout", "too long", retry=True),
)


@pytest.mark.parametrize("record", [JOB, DONE])
def test_record_round_trips_through_json(record: Job | Completion) -> None:
    assert type(record).from_json(json.loads(json.dumps(record.to_json()))) == record


def test_unknown_keys_are_passed_over_and_missing_ones_raise() -> None:
    assert Upload.from_json({"index": 0, "url": "u", "content_type": "c", "new": 1}).url == "u"
    with pytest.raises(TypeError):
        Job.from_json({"run": "run_1"})


def test_wire_needs_the_standard_library_only() -> None:
    code = "import sys, inference.wire as w; w.describe('glyph'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("slug", shelf(WEIGHTS))
def test_model_describes_itself(slug: str) -> None:
    about = describe(slug)
    schema = about["inputs"]
    jsonschema_rs.meta.validate(schema)
    assert schema["additionalProperties"] is False
    validator = jsonschema_rs.validator_for(schema)
    for example in about["examples"]:
        validator.validate(example)
    for name, rule in schema["properties"].items():
        assert rule["title"], name
        assert rule["description"], name
        if "default" in rule:
            jsonschema_rs.validator_for(rule).validate(rule["default"])
    assert set(about) >= {"slug", "title", "task", "summary", "output", "queue", "facts"}


@pytest.mark.parametrize("slug", ["absent", "../glyph", ""])
def test_absent_model_is_a_key_error(slug: str) -> None:
    with pytest.raises(KeyError):
        describe(slug)
