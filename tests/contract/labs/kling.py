"""Kling."""

from typing import Any

from tests.contract.counterfeit import NO_PRICE, Says, Shape


def told(status: str, *, code: int = 0, message: str = "SUCCEED", **more: Any) -> dict[str, Any]:
    data = {"task_id": "$id", "task_status": status, "task_status_msg": ""} | more
    return {"code": code, "message": message, "request_id": "r", "data": data}


def made(seconds: str) -> dict[str, Any]:
    return {"videos": [{"id": "v", "url": "$url", "duration": seconds}]}


def error(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "request_id": "r"}


SHAPE = Shape(
    submit="/v1/videos/text2video",
    poll="/v1/videos/text2video/$id",
    proof=("Authorization", "Bearer eyJ"),
    inputs={"prompt": "dusk", "seconds": 5},
    found_by_key=True,
    receipt=told("submitted"),
    notice={"task_id": "$id", "task_status": "succeed", "external_task_id": "run-1"},
    states={
        "running": told("processing"),
        "succeeded": told("succeed", task_result=made("5.1")),
        "empty": told("succeed", task_result={"videos": []}),
        "failed": told("failed", task_status_msg="Internal error"),
        "policy_after": told("failed", task_status_msg="Failure to pass the risk control system"),
    },
    invalid=Says(error(1201, "Invalid parameter: duration"), 400),
    policy_before=Says(error(1301, "Trigger strategy"), 400),
    troubled=error(5002, "Internal timeout"),
    error_200=error(1102, "Account balance not enough"),
    lies={
        "wrong_length": (
            told("succeed", task_result=made("10272")),
            {"video_second": "10272"},
        ),
    },
    cannot={"wrong_price": NO_PRICE},
)
