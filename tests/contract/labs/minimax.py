"""MiniMax Hailuo."""

from typing import Any

from tests.contract.counterfeit import NO_LENGTH, NO_PRICE, Says, Shape


def told(code: int = 0, message: str = "success", **more: Any) -> dict[str, Any]:
    return more | {"base_resp": {"status_code": code, "status_msg": message}}


SHAPE = Shape(
    submit="/v1/video_generation",
    poll="/v1/query/video_generation?task_id=$id",
    proof=("Authorization", "Bearer access:secret"),
    receipt=told(task_id="$id"),
    notice=told(task_id="$id", status="success", file_id="205"),
    more={"/v1/files/retrieve?file_id=205": told(file={"file_id": 205, "download_url": "$url"})},
    states={
        "running": told(task_id="$id", status="Processing"),
        "succeeded": told(task_id="$id", status="Success", file_id="205", video_width=1366),
        "empty": told(task_id="$id", status="Success", file_id=""),
        "failed": told(task_id="$id", status="Fail"),
        "policy_after": told(1027, "video output contains sensitive content", status="Fail"),
    },
    invalid=Says(told(2013, "invalid params: duration")),
    policy_before=Says(told(1026, "video description involves sensitive content")),
    troubled=told(1001, "request timeout"),
    error_200=told(1008, "insufficient balance"),
    cannot={"wrong_length": NO_LENGTH, "wrong_price": NO_PRICE},
)
