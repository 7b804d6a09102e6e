"""Seedance."""

from typing import Any

from tests.contract.counterfeit import Says, Shape

TASKS = "/api/v3/contents/generations/tasks"


def task(status: str, **more: Any) -> dict[str, Any]:
    return {"id": "$id", "model": "model-1", "status": status} | more


def made(duration: Any, tokens: Any) -> dict[str, Any]:
    content = {"video_url": "$url"}
    used = {"completion_tokens": tokens, "total_tokens": tokens}
    return task("succeeded", content=content, usage=used, duration=duration)


def error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": "The request failed because of it."}}


SHAPE = Shape(
    submit=TASKS,
    poll=f"{TASKS}/$id",
    cancel=("DELETE", f"{TASKS}/$id"),
    proof=("Authorization", "Bearer access:secret"),
    receipt={"id": "$id"},
    notice=task("succeeded", content={"video_url": "$url"}),
    states={
        "running": task("running"),
        "cancellable": task("queued"),
        "succeeded": made(5, 108900),
        "empty": task("succeeded", content={}),
        "failed": task("failed", **error("InternalServiceError")),
        "cancelled": task("cancelled"),
        "policy_after": task("failed", **error("OutputVideoSensitiveContentDetected")),
    },
    invalid=Says(error("InvalidParameter"), 400),
    policy_before=Says(error("InputTextSensitiveContentDetected"), 400),
    error_200=error("AccountOverdueError"),
    lies={
        "wrong_length": (made(10272, 108900), {"video_second": "10272", "token": "108900"}),
        "wrong_price": (made(5, "NaN"), {"video_second": "5"}),
    },
)
