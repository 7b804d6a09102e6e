"""The rehearsal lab, which knows an idempotency key."""

from typing import Any

from tests.contract.counterfeit import Says, Shape


def job(status: str, **more: Any) -> dict[str, Any]:
    return {"id": "$id", "status": status} | more


def made(seconds: Any) -> dict[str, Any]:
    file = {"content_type": "video/mp4", "url": "/file"}
    return job("succeeded", outputs=[file], usage={"video_seconds": seconds})


def error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": "The lab does not draw this."}}


SHAPE = Shape(
    submit="/v1/jobs",
    poll="/v1/jobs/$id",
    cancel=("POST", "/v1/jobs/$id/cancel"),
    proof=("Authorization", "Bearer access:secret"),
    keyed=True,
    receipt=job("queued"),
    states={
        "running": job("running", progress={"step": 3, "steps": 12}),
        "cancellable": job("running"),
        "succeeded": made(5),
        "failed": job("failed", **error("lab_failed")),
        "cancelled": job("cancelled"),
        "policy_before": job("refused", **error("content_refused")),
    },
    invalid=Says(error("invalid_input"), 422),
    error_200=error("no"),
    lies={
        "wrong_length": (made(10272), {"video_second": "10272"}),
        "wrong_price": (made("NaN"), {}),
    },
    cannot={
        "policy_after": "a refusal does not tell whether it had drawn",
        "strange_receipt": "it is our own, and its receipts are no addresses",
        "nothing_delivered": "a success without files is for the caller to refuse",
    },
)
