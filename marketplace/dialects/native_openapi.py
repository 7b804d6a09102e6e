"""Adds the hot path's addresses and the shared schemas to the OpenAPI document."""

from typing import Any

from marketplace.webhooks.schemes import EVENTS

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def thing(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


def listed(items: Schema) -> Schema:
    return {"type": "array", "items": items}


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
TIME: Schema = {"type": "string", "format": "date-time"}
NO_TEXT: Schema = {"type": ["string", "null"]}
NO_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
NO_NUMBER: Schema = {"type": ["number", "null"]}
NO_WHOLE: Schema = {"type": ["integer", "null"]}
PROJECT: Schema = {"type": "string", "minLength": 1, "maxLength": 64}
END_USER: Schema = {"type": "string", "minLength": 1, "maxLength": 128}

SCHEMAS: dict[str, Schema] = {
    "Money": thing(
        amount={"type": "string", "description": "Major units, exact.", "examples": ["0.006"]},
        currency={"type": "string", "examples": ["USD"]},
        nano={"type": "integer", "description": "10⁻⁹ of the currency.", "examples": [6000000]},
    ),
    "Error": thing(
        error=thing(
            code={"type": "string", "description": "Stable; meant for programs."},
            message={"type": "string", "description": "Meant for people."},
            param={"type": ["string", "null"], "description": "The field at fault."},
            rule={"type": "string", "description": "The keyword of the schema that it breaks."},
            allowed={"description": "What that keyword allows there."},
        )
    ),
    "Output": thing(
        id=TEXT,
        kind={"enum": ["image", "video"]},
        content_type=TEXT,
        url={"type": ["string", "null"], "description": "Signed, private, expiring."},
        url_expires_at=NO_TIME,
        expires_at=TIME,
        bytes=WHOLE,
        sha256=TEXT,
        width=NO_WHOLE,
        height=NO_WHOLE,
        frames=NO_WHOLE,
        seconds=NO_NUMBER,
        sound={"type": "boolean"},
    ),
    "Check": thing(output=WHOLE, what=TEXT, asked=TEXT, measured=TEXT, agrees={"type": "boolean"}),
    "Usage": thing(unit=TEXT, requested=NO_TEXT, reported=NO_TEXT, measured=NO_TEXT, charged=TEXT),
    "Cost": thing(
        state={"enum": ["open", "captured", "voided", "in_review"]},
        price_version=WHOLE,
        quoted=ref("Money"),
        held=ref("Money"),
        captured=ref("Money"),
        given_back=ref("Money"),
    ),
    "Session": {
        "type": ["object", "null"],
        "description": "Of a realtime session: what it has come to.",
        "properties": {
            "seconds": NUMBER,
            "frames": WHOLE,
            "cost": ref("Money"),
            "ended": {"type": ["string", "null"], "examples": ["left", "insufficient_balance"]},
        },
    },
    "Route": thing(supplier=NO_TEXT, queue=TEXT, worker=NO_TEXT, reason=NO_TEXT),
    "Run": thing(
        id={"type": "string", "examples": ["run_01m7x3yvyte9sagyvwwf6hge6p"]},
        model=TEXT,
        release=TEXT,
        state={"enum": ["queued", "running", "succeeded", "failed", "cancelled"]},
        outcome=NO_TEXT,
        inputs={"type": "object"},
        project=NO_TEXT,
        end_user=NO_TEXT,
        created_at=TIME,
        started_at=NO_TIME,
        finished_at=NO_TIME,
        waiting_seconds=NUMBER,
        running_seconds=NO_NUMBER,
        attempts=WHOLE,
        progress={
            "type": ["object", "null"],
            "properties": {"stage": TEXT, "step": WHOLE, "steps": WHOLE, "preview": NO_TEXT},
        },
        route=ref("Route"),
        cost=ref("Cost"),
        session=ref("Session"),
        usage=listed(ref("Usage")),
        checks=listed(ref("Check")),
        outputs=listed(ref("Output")),
        error={"type": ["object", "null"], "properties": {"code": TEXT, "message": TEXT}},
        links={"type": "object", "additionalProperties": TEXT},
    ),
    "RunPage": thing(data=listed(ref("Run")), next_cursor=NO_TEXT),
    "RunWish": {
        "type": "object",
        "required": ["model", "inputs"],
        "additionalProperties": False,
        "properties": {
            "model": {"type": "string", "examples": ["kinora/glyph", "kinora/glyph@2026-11-21"]},
            "inputs": {"type": "object", "description": "By the model's input schema."},
            "quote": {"type": "string", "description": "A binding quote for these inputs."},
            "max_cost": {
                "type": ["string", "integer"],
                "description": "Refuse the run where it may cost more, in major units.",
                "examples": ["0.05"],
            },
            "user": {
                "type": "string",
                "minLength": 1,
                "maxLength": 128,
                "description": "Your own user that this run is for; visible ASCII.",
            },
            "expires_in": {
                "type": "integer",
                "minimum": 1,
                "description": "Seconds after which its media are deleted, if sooner than usual.",
            },
            "forget_in": {
                "type": "integer",
                "minimum": 1,
                "description": "Seconds after which what was asked for is forgotten as well.",
            },
            "webhook": {
                "description": "Where to tell of this run: a URL, or one with the events wanted.",
                "oneOf": [
                    {"type": "string", "format": "uri"},
                    {
                        "type": "object",
                        "required": ["url"],
                        "additionalProperties": False,
                        "properties": {
                            "url": {"type": "string", "format": "uri"},
                            "events": {
                                "type": "array",
                                "minItems": 1,
                                "items": {"enum": list(EVENTS)},
                                "default": ["run.finished"],
                            },
                        },
                    },
                ],
                "examples": ["https://example.com/hooks/kinora"],
            },
            "wait": {
                "type": "number",
                "minimum": 0,
                "maximum": 60,
                "description": "Seconds to wait for the end before the answer.",
            },
        },
    },
    "Receipt": thing(
        run=TEXT,
        model=TEXT,
        release=TEXT,
        state=TEXT,
        outcome=NO_TEXT,
        inputs={"type": "object"},
        project=NO_TEXT,
        end_user=NO_TEXT,
        created_at=TIME,
        started_at=NO_TIME,
        finished_at=NO_TIME,
        waiting_seconds=NUMBER,
        running_seconds=NO_NUMBER,
        attempts=WHOLE,
        route=ref("Route"),
        price=thing(
            version=WHOLE,
            segment=TEXT,
            digest=TEXT,
            currency=TEXT,
            lines=listed({"type": "object"}),
        ),
        usage=listed(ref("Usage")),
        checks=listed(ref("Check")),
        plan={
            "type": ["object", "null"],
            "description": "What our own worker computed the run with, and how near to eager.",
            "properties": {
                "name": TEXT,
                "exactness": {"enum": ["E0", "E1", "E2", "E3"]},
                "means": TEXT,
            },
        },
        lines=listed(thing(unit=TEXT, quantity=TEXT, unit_price=TEXT, amount=TEXT)),
        cost=ref("Cost"),
        session=ref("Session"),
        balance_before=ref("Money"),
        balance_after=ref("Money"),
        entries=listed(thing(transfer=TEXT, account=TEXT, amount=ref("Money"), at=TIME)),
        refunds=listed(thing(amount=ref("Money"), at=TIME, note=TEXT)),
        refund_requests=listed(
            thing(
                id=TEXT,
                reason=TEXT,
                note=TEXT,
                state={"enum": ["open", "granted", "refused"]},
                amount=ref("Money"),
                decided_by=NO_TEXT,
                answer=TEXT,
                created_at=TIME,
                deadline_at=TIME,
                decided_at=NO_TIME,
            )
        ),
        decisions=listed(thing(act=TEXT, amount=ref("Money"), words=TEXT, at=TIME)),
        outputs=listed(ref("Output")),
        error={"type": ["object", "null"]},
    ),
}

RUN_ID: Schema = {"name": "run", "in": "path", "required": True, "schema": TEXT}
REFUSED = {
    "400": "The body is not JSON, or too deep.",
    "401": "No key, a wrong, revoked or expired one.",
    "402": "The balance is too low, or the run may cost more than `max_cost` or a budget allows.",
    "403": "The key lacks a scope, or a budget allows other models only.",
    "404": "There is none; also what another team owns.",
    "409": "The state of things does not allow it.",
    "413": "The body is too large.",
    "415": "The body has a type that is not read here.",
    "422": "A field is wrong; `param` names it.",
    "423": "The team is locked.",
    "429": "Too busy, or too many runs wait for a lane; `Retry-After` says when to come back.",
    "503": "A service of ours is away; `Retry-After` says when to come back.",
}


def add_runs(result: Schema, generator: Any, request: Any, public: bool) -> Schema:
    """A postprocessing hook of drf-spectacular."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {}).update(SCHEMAS)
    result["paths"].update(paths())
    result["paths"] = dict(sorted(result["paths"].items()))
    for path, operations in result["paths"].items():
        for operation in operations.values():
            for code in refusals(path, operation):
                operation["responses"].setdefault(code, failure(code))
    return result


def refusals(path: str, operation: Schema) -> list[str]:
    """What any operation of its kind may answer: with a key, a path, a query, a body."""
    found = ["429", "503"]
    if operation.get("security") and operation["security"] != [{}]:
        found += ["401", "403"]
    if "{" in path:
        found += ["404", "422"]
    if any(parameter["in"] == "query" for parameter in operation.get("parameters", [])):
        found += ["404", "422"]
    if operation.get("requestBody"):
        found += ["400", "402", "404", "409", "413", "415", "422"]
    return found


def paths() -> Schema:
    return {
        "/api/v1/runs": {"post": create(), "get": listing()},
        "/api/v1/runs/{run}": {"get": one("getRun", "One run.", ref("Run"))},
        "/api/v1/runs/{run}/cancel": {
            "post": one("cancelRun", "Ask for the end of a run. Repeats safely.", ref("Run"))
        },
        "/api/v1/runs/{run}/receipt": {
            "get": one("getReceipt", "What a run cost, and why.", ref("Receipt"))
        },
        "/api/v1/runs/{run}/events": {"get": events()},
    }


def operation(name: str, says: str, answers: Schema, failures: str, **more: Any) -> Schema:
    refused = {code: failure(code) for code in failures.split()}
    return {
        "operationId": name,
        "description": says,
        "tags": ["runs"],
        "security": [{"key": []}],
        "responses": {**answers, **refused},
        **more,
    }


def failure(code: str) -> Schema:
    return told(REFUSED[code], ref("Error"))


def told(says: str, schema: Schema, kind: str = "application/json") -> Schema:
    return {"description": says, "content": {kind: {"schema": schema}}}


def one(name: str, says: str, schema: Schema) -> Schema:
    return operation(
        name, says, {"200": told(says, schema)}, "401 403 404 503", parameters=[RUN_ID]
    )


def create() -> Schema:
    return operation(
        "createRun",
        "Start a run: its greatest cost is held, and what it used is captured from that.",
        {
            "201": told("The run has started.", ref("Run")),
            "200": told("This Idempotency-Key started this run before.", ref("Run")),
        },
        " ".join(REFUSED),
        parameters=[
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                "description": "The same key and body is the same run, however often it is sent.",
            },
            {
                "name": "X-Kinora-Project",
                "in": "header",
                "schema": PROJECT,
                "description": "A tag of yours, to count and limit this run by.",
            },
            {
                "name": "X-Kinora-End-User",
                "in": "header",
                "schema": END_USER,
                "description": "The same as the body's `user`.",
            },
        ],
        requestBody={
            "required": True,
            "content": {"application/json": {"schema": ref("RunWish")}},
        },
    )


def listing() -> Schema:
    states = {"enum": ["queued", "running", "succeeded", "failed", "cancelled"]}
    return operation(
        "listRuns",
        "The team's runs, newest first.",
        {"200": told("A page of runs.", ref("RunPage"))},
        "401 403 422 503",
        parameters=[
            {"name": "cursor", "in": "query", "schema": TEXT},
            {
                "name": "limit",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            },
            {"name": "state", "in": "query", "schema": states},
            {"name": "project", "in": "query", "schema": PROJECT},
            {"name": "end_user", "in": "query", "schema": END_USER},
        ],
    )


def events() -> Schema:
    says = "Server-sent events: `run` with the run at each change, then `done`."
    return operation(
        "followRun",
        says,
        {"200": told(says, TEXT, "text/event-stream")},
        "401 403 404 503",
        parameters=[RUN_ID, {"name": "ticket", "in": "query", "schema": TEXT}],
    )
