"""Errors as OpenAI's clients read them, and whether another try can help."""

from typing import Any

from marketplace.dialects.contract import Allowance, Reply, Row
from marketplace.errors import KinoraError

# Kinora's status → OpenAI's status and type.
SAID = {
    400: (400, "invalid_request_error"),
    401: (401, "invalid_request_error"),
    402: (429, "insufficient_quota"),
    403: (403, "invalid_request_error"),
    404: (404, "invalid_request_error"),
    405: (405, "invalid_request_error"),
    409: (409, "invalid_request_error"),
    413: (413, "invalid_request_error"),
    422: (400, "invalid_request_error"),
    423: (403, "invalid_request_error"),
    429: (429, "rate_limit_error"),
    503: (503, "server_error"),
}
CODES = {
    "not_authenticated": "invalid_api_key",
    "insufficient_balance": "insufficient_quota",
    "busy": "rate_limit_exceeded",
}
REFUSED = ("refused_before", "refused_after")


def refused(error: KinoraError) -> Reply:
    """Balance, caps and budgets are a 429 that no client tries again."""
    status, kind = SAID.get(error.status, (500, "server_error"))
    code = CODES.get(error.code, error.code)
    if code == "not_found" and error.param == "model":
        code = "model_not_found"
    again = error.status in (429, 503)
    heads = error.headers() | {"x-should-retry": "true" if again else "false"}
    return Reply(envelope(error.message, kind, error.param, code), status, heads)


def allowed(left: Allowance) -> dict[str, str]:
    """What callers read through `with_raw_response`."""
    return {
        "x-ratelimit-limit-requests": str(left.limit),
        "x-ratelimit-remaining-requests": str(left.remaining),
        "x-ratelimit-reset-requests": f"{left.reset:.3f}s",
    }


def failure(row: Row) -> Reply:
    """The answer of a run that did not succeed, or is not done when patience ends."""
    told = row["error"] or {}
    message = told.get("message") or f"The run {row['state']}."
    heads = {"x-should-retry": "false"}
    if row["outcome"] in REFUSED:
        code = "moderation_blocked"
        return Reply(envelope(message, "image_generation_user_error", None, code), 400, heads)
    if row["outcome"] == "invalid_input":
        code = "invalid_value"
        return Reply(envelope(message, "invalid_request_error", None, code), 400, heads)
    code = told.get("code") or ("timeout" if row["state"] in ("queued", "running") else "failed")
    return Reply(envelope(message, "server_error", None, code), 500, heads)


def envelope(message: str, kind: str, param: str | None, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
