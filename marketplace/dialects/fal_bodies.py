"""What fal's clients read: statuses, outputs, logs and errors, from runs and Kinora's errors.

Failure and cancellation are COMPLETED there; what went wrong is the answer of the result's address.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings

from marketplace import errors, ids
from marketplace.dialects.contract import Reply, Row
from marketplace.runs import view
from marketplace.webhooks.schemes import Event

Body = dict[str, Any]

REQUEST_ID = "x-fal-request-id"
UNITS = "x-fal-billable-units"
ERROR_TYPE = "x-fal-error-type"
RETRYABLE = "x-fal-retryable"
LATE = {"x-fal-request-timeout-type": "user"}  # tells both clients not to try again

# ── a run's addresses, status and logs ────────────────────────────────────────────────────────


def public(row: Row) -> str:
    return ids.public("run", UUID(row["id"]))


def heads(row: Row) -> dict[str, str]:
    return {REQUEST_ID: public(row)}


def addresses(row: Row) -> Body:
    own = f"{settings.SITE_URL}/fal/queue/{row['model']}/requests/{public(row)}"
    return {
        "request_id": public(row),
        "response_url": own,
        "status_url": f"{own}/status",
        "cancel_url": f"{own}/cancel",
    }


def status(row: Row, *, ahead: int, lines: list[Body] | None) -> Body:
    """The queue's word for how a run stands; `logs` is a key of it whatever the state."""
    told = addresses(row) | {"logs": lines}
    if row["state"] == "queued":
        return {"status": "IN_QUEUE", **told, "queue_position": ahead}
    if row["state"] == "running":
        return {"status": "IN_PROGRESS", **told}
    metrics = {"inference_time": view.rounded(row["running_seconds"])}
    done = {"status": "COMPLETED", **told, "metrics": metrics}
    if row["state"] == "succeeded":
        return done
    _, kind, text = fault(row)
    return done | {"error": text, "error_type": kind}


def logs(row: Row) -> list[Body]:
    """What is known to have happened, oldest first."""
    return [
        {"message": message, "level": level, "source": "USER", "timestamp": at}
        for at, level, message in happened(row)
    ]


def happened(row: Row) -> Iterator[tuple[str, str, str]]:
    yield row["created_at"], "INFO", f"Queued for {row['model']}@{row['release']}."
    if row["started_at"]:
        yield row["started_at"], "INFO", f"Started, attempt {row['attempt']}."
    if (found := row["progress"]) and found["steps"]:
        now = datetime.now(UTC).isoformat()
        yield now, "INFO", f"{found['stage']}: step {found['step']} of {found['steps']}"
    if row["state"] == "succeeded":
        yield row["finished_at"], "INFO", "Succeeded."
    elif row["finished_at"]:
        yield row["finished_at"], "ERROR", fault(row)[2]


# ── results ───────────────────────────────────────────────────────────────────────────────────


def result(row: Row) -> Reply:
    """The output of a run that has succeeded; else its error, with the status of that."""
    if row["state"] == "succeeded":
        return Reply(output(row), 200, heads(row) | {UNITS: charged(row)})
    if row["state"] not in view.TERMINAL:
        return Reply(told("Request is still in progress", "bad_request"), 400, heads(row))
    code, kind, text = fault(row)
    plain = told(text, kind)
    if code == 422:
        plain["detail"] = [{"loc": ["body", "prompt"], "msg": text, "type": kind}]
    extra = LATE if code == 504 else {}
    return Reply(plain, code, heads(row) | {UNITS: charged(row), ERROR_TYPE: kind} | extra)


def output(row: Row) -> Body:
    """Images or a video, as fal's models say them."""
    files = [view.output(found) for found in row["outputs"] or []]
    shared = {
        "timings": {"inference": view.rounded(row["running_seconds"])},
        "seed": row["inputs"].get("seed"),
        "prompt": row["inputs"].get("prompt"),
    }
    clips = [video(found) for found in files if found["kind"] == "video"]
    if clips:
        return {"video": clips[0], **shared}
    images = [image(found) for found in files]
    return {"images": images, **shared, "has_nsfw_concepts": [False] * len(images)}


def image(found: Mapping[str, Any]) -> Body:
    return file(found) | {"width": found["width"], "height": found["height"]}


def video(found: Mapping[str, Any]) -> Body:
    frames, seconds = found["frames"], found["seconds"]
    return image(found) | {
        "num_frames": frames,
        "duration": seconds,
        "fps": round(frames / seconds, 3) if frames and seconds else None,
    }


def file(found: Mapping[str, Any]) -> Body:
    kind = found["content_type"].rpartition("/")[2]
    return {
        "url": found["url"],
        "content_type": found["content_type"],
        "file_name": f"{found['id']}.{kind}",
        "file_size": found["bytes"],
    }


def partial(row: Row) -> Body:
    """How a picture looks so far: a small one, as a data URI."""
    found = row["progress"]
    kind = found["preview"].removeprefix("data:").partition(";")[0]
    return {
        "images": [{"url": found["preview"], "content_type": kind}],
        "progress": {name: found[name] for name in ("stage", "step", "steps")},
        "partial": True,
    }


def charged(row: Row) -> str:
    """The units that were charged, of the first kind where there are several."""
    return next((unit["charged"] for unit in row["usage"] or ()), "0")


def render(row: Row, _event: Event) -> bytes:
    """What a webhook of fal's kind sends: the answer of the result's address, and how it went."""
    answer = result(row)
    failed = answer.status != 200
    return orjson.dumps(
        {
            "request_id": public(row),
            "gateway_request_id": public(row),
            "status": "ERROR" if failed else "OK",
            "error": f"Invalid status code: {answer.status}" if failed else None,
            "payload": answer.body,
        }
    )


# ── errors ────────────────────────────────────────────────────────────────────────────────────

FAULTS = {  # outcome → status and type, as the result's address tells it
    "invalid_input": (422, "value_error"),
    "refused_before": (422, "content_policy_violation"),
    "refused_after": (422, "content_policy_violation"),
    "supplier_error": (500, "runner_server_error"),
    "our_error": (500, "internal_error"),
    "cancelled_before": (499, "client_cancelled"),
    "cancelled_after": (499, "client_cancelled"),
}
# Clients repeat 409 and 429 up to ten times, so only what passes by itself may say so.
LASTING = {402: 403, 408: 400, 409: 400, 423: 403, 429: 403}
TYPES = {"malformed_body": "bad_request", "conflict": "bad_request"}
RULES = {  # JSON Schema's keyword → the type that pydantic has for it, and its word in `ctx`
    "required": ("missing", ""),
    "additionalProperties": ("extra_forbidden", ""),
    "enum": ("literal_error", "expected"),
    "minimum": ("greater_than_equal", "ge"),
    "maximum": ("less_than_equal", "le"),
    "exclusiveMinimum": ("greater_than", "gt"),
    "exclusiveMaximum": ("less_than", "lt"),
    "multipleOf": ("multiple_of", "multiple_of"),
    "minLength": ("string_too_short", "min_length"),
    "maxLength": ("string_too_long", "max_length"),
    "minItems": ("too_short", "min_length"),
    "maxItems": ("too_long", "max_length"),
    "pattern": ("string_pattern_mismatch", "pattern"),
}
KINDS = {
    "string": "string_type",
    "integer": "int_type",
    "number": "float_type",
    "boolean": "bool_type",
    "array": "list_type",
    "object": "dict_type",
}


def fault(row: Row) -> tuple[int, str, str]:
    """Status, type and text of a run that did not succeed."""
    error = row["error"] or {}
    if error.get("code") == "start_timeout":
        return 504, "request_timeout", error["message"]
    code, kind = FAULTS.get(row["outcome"], (500, "internal_error"))
    return code, kind, error.get("message") or "The run was cancelled."


def told(text: str, kind: str) -> Body:
    """An error in words: Python's client shows `detail`, JavaScript's `message`."""
    return {"detail": text, "message": text, "error_type": kind}


def refused(error: errors.KinoraError) -> Reply:
    """A refusal, in the one of fal's two shapes that fits it."""
    passes = "retry_after" in error.facts
    code = error.status if passes else LASTING.get(error.status, error.status)
    kind = TYPES.get(error.code, error.code)
    body = told(wording(error), kind)
    if code == 422:
        body["detail"] = [problem(error)]
        kind = str(body["detail"][0]["type"])
        del body["error_type"]
    extra = {ERROR_TYPE: kind, UNITS: "0", RETRYABLE: str(passes).lower()}
    return Reply(body, code, error.headers() | extra)


def wording(error: errors.KinoraError) -> str:
    if isinstance(error, errors.InsufficientBalance):
        return f"Exhausted balance. {error.message}"
    return error.message


def problem(error: errors.KinoraError) -> Body:
    """One entry of a validation error's list."""
    kind, word = RULES.get(error.facts.get("rule", ""), ("value_error", ""))
    allowed = error.facts.get("allowed")
    if error.facts.get("rule") == "type" and isinstance(allowed, Sequence):
        kind = KINDS.get(allowed[0], "value_error")
    found: Body = {"loc": place(error.param or ""), "msg": error.message, "type": kind}
    return found | {"ctx": {word: allowed}} if word else found


QUERY = {"fal_webhook", "limit", "cursor", "start", "end", "timeframe", "endpoint_id"} | {
    "timezone", "bound_to_timeframe", "status", "request_id", "expand",
}  # fmt: skip


def place(param: str) -> list[str | int]:
    """Where the fault is: the body's field, or a header's name."""
    if param[:1].isupper():
        return ["header", param.lower()]
    if param in QUERY:
        return ["query", param]
    steps = [step for step in param.split(".") if step]
    return ["body", *(int(step) if step.isdecimal() else step for step in steps)]
