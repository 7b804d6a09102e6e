"""Black Forest Labs."""

from tests.contract.counterfeit import Says, Shape

IN_THE_RECEIPT = "size and cost come with the receipt, before anything is made"


def task(status: str, **more: object) -> dict[str, object]:
    return {"id": "$id", "status": status, "result": None, "progress": None} | more


SHAPE = Shape(
    submit="/v1/flux-2-pro",
    poll="/v1/get_result?id=$id",
    proof=("x-key", "access:secret"),
    target="flux-2-pro",
    inputs={"prompt": "dusk", "size": "1024x768"},
    receipt={"id": "$id", "polling_url": "$url", "cost": 3.0, "output_mp": 1.0},
    notice={"task_id": "$id", "status": "SUCCESS", "result": {"sample": "$url"}},
    states={
        "running": task("Pending", progress=0.4),
        "succeeded": task("Ready", result={"sample": "$url", "seed": 1}),
        "empty": task("Ready", result={}),
        "failed": task("Error"),
        "policy_before": task("Request Moderated"),
        "policy_after": task("Content Moderated"),
    },
    invalid=Says({"detail": [{"loc": ["body", "width"], "msg": "too small"}]}, 422),
    error_200={"detail": "Insufficient credits"},
    cannot={"wrong_length": IN_THE_RECEIPT, "wrong_price": IN_THE_RECEIPT},
)
