"""Luma."""

from tests.contract.counterfeit import NO_LENGTH, NO_PRICE, Says, Shape


def generation(state: str, **more: object) -> dict[str, object]:
    return {"id": "$id", "state": state, "failure_reason": None, "assets": None} | more


SHAPE = Shape(
    submit="/dream-machine/v1/generations",
    poll="/dream-machine/v1/generations/$id",
    cancel=("DELETE", "/dream-machine/v1/generations/$id"),
    proof=("Authorization", "Bearer access:secret"),
    inputs={"prompt": "dusk", "seconds": 5},
    receipt=generation("queued"),
    notice=generation("completed", assets={"video": "$url"}),
    states={
        "running": generation("dreaming"),
        "cancellable": generation("queued"),
        "succeeded": generation("completed", assets={"video": "$url"}),
        "empty": generation("completed", assets={}),
        "failed": generation("failed", failure_reason="Job failed."),
        "cancelled": Says({"detail": "Generation not found"}, 404),
        "policy_after": generation("failed", failure_reason="400: Frame moderation failed"),
    },
    invalid=Says({"detail": "Duration 7s is not supported"}, 400),
    policy_before=Says({"detail": "Prompt not allowed because it hit moderation"}, 400),
    error_200={"detail": "Insufficient credits"},
    cannot={"wrong_length": NO_LENGTH, "wrong_price": NO_PRICE},
)
