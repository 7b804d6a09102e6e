"""Veo."""

from typing import Any

from tests.contract.counterfeit import NO_LENGTH, NO_PRICE, Says, Shape


def done(**videos: Any) -> dict[str, Any]:
    return {"name": "$id", "done": True, "response": {"generateVideoResponse": videos}}


def error(code: int, status: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "status": status, "message": message}}


SHAPE = Shape(
    submit="/v1beta/models/model-1:predictLongRunning",
    poll="/v1beta/$id",
    proof=("x-goog-api-key", "access:secret"),
    inputs={"prompt": "dusk", "seconds": 8},
    receipt={"name": "$id"},
    states={
        "running": {"name": "$id"},
        "succeeded": done(generatedSamples=[{"video": {"uri": "$url"}}]),
        "empty": done(),
        "failed": {"name": "$id", "done": True} | error(13, "", "Internal error."),
        "policy_after": done(raiMediaFilteredCount=1, raiMediaFilteredReasons=["It was filtered."]),
    },
    invalid=Says(error(400, "INVALID_ARGUMENT", "durationSeconds is out of bound."), 400),
    policy_before=Says(error(400, "INVALID_ARGUMENT", "It violates our usage guidelines."), 400),
    error_200=error(403, "PERMISSION_DENIED", "The caller has no permission."),
    cannot={"wrong_length": NO_LENGTH, "wrong_price": NO_PRICE},
)
