"""Runway."""

from tests.contract.counterfeit import NO_LENGTH, NO_PRICE, Says, Shape


def failed(code: str) -> dict[str, str]:
    return {"id": "$id", "status": "FAILED", "failure": "It failed.", "failureCode": code}


SHAPE = Shape(
    submit="/v1/text_to_video",
    poll="/v1/tasks/$id",
    cancel=("DELETE", "/v1/tasks/$id"),
    proof=("Authorization", "Bearer access:secret"),
    receipt={"id": "$id"},
    states={
        "running": {"id": "$id", "status": "RUNNING", "progress": 0.4},
        "cancellable": {"id": "$id", "status": "THROTTLED"},
        "succeeded": {"id": "$id", "status": "SUCCEEDED", "output": ["$url"]},
        "empty": {"id": "$id", "status": "SUCCEEDED", "output": []},
        "failed": failed("INTERNAL.BAD_OUTPUT.CODE01"),
        "cancelled": {"id": "$id", "status": "CANCELLED"},
        "policy_before": failed("SAFETY.INPUT.TEXT"),
        "policy_after": failed("SAFETY.OUTPUT.VIDEO"),
    },
    invalid=Says({"error": "Validation of body failed", "issues": []}, 400),
    error_200={"error": "Something went wrong."},
    cannot={"wrong_length": NO_LENGTH, "wrong_price": NO_PRICE},
)
