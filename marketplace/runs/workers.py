"""The GPU workers' door: claim, renew, report, complete over HTTPS with a worker's token.

The same statements as everywhere, behind plain JSON views. A worker is believed about nothing that
can be checked: its outputs are read back and measured here, its seconds against our own clock.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from marketplace import ids
from marketplace.errors import InvalidInput, KinoraError, MalformedBody, NotFound, StaleAttempt
from marketplace.fleet import token
from marketplace.fleet.models import Worker
from marketplace.media import sign, store
from marketplace.media.probe import Measures, ProbeFailed, prober
from marketplace.metering.segments import SESSION
from marketplace.runs import claim, hint
from marketplace.runs.connections import Row, rows
from marketplace.runs.hand import handed
from marketplace.runs.sessions import DOOR, lost
from marketplace.runs.settle import Case, End, Kept, failed, item, settling

MOST_CLAIMED = 8
STAGE_LENGTH, PREVIEW_LENGTH = 20, 200_000
LARGEST_COUNT = 1_000_000
OUTCOMES = {"invalid_input": "invalid_input", "refused": "refused_after"}  # error code → outcome
MINE_SQL = """
    SELECT outcome, extract(epoch FROM clock_timestamp() - claimed_at) AS seconds
      FROM runs_attempt WHERE run_id = %s AND number = %s AND worker = %s"""

Body = Mapping[str, Any]
Verb = Callable[[Worker, Body, HttpRequest], dict[str, Any]]


def door(verb: Verb) -> Callable[[HttpRequest], JsonResponse]:
    """A verb as a view: token, JSON in, JSON out, errors in the one shape."""

    @csrf_exempt
    @require_POST
    def view(request: HttpRequest) -> JsonResponse:
        try:
            worker = token.bearer(request.headers.get("Authorization", ""))
            return JsonResponse(verb(worker, body_of(request), request))
        except KinoraError as error:
            return JsonResponse(error.as_json(), status=error.status)

    return view


def body_of(request: HttpRequest) -> Body:
    """Raises MalformedBody."""
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise MalformedBody("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise MalformedBody("The body must be an object.")
    return body


# ── claim ─────────────────────────────────────────────────────────────────────────────────────


@door
def claim_view(worker: Worker, body: Body, request: HttpRequest) -> dict[str, Any]:
    """Give the worker the best runs of its own pool, with addresses to put outputs to."""
    resident = names(body.get("resident", []))
    limit = min(number(body.get("limit", 1), "limit"), MOST_CLAIMED)
    token.saw(worker, resident=resident)
    taken = rows(
        claim.claim(
            queue=worker.pool.slug,
            worker=worker.name,
            warm=resident,
            limit=limit,
            warm_only=body.get("resident_only") is True,
        )
    )
    known = {row["run_id"]: row for row in rows(claim.cases(row["run_id"] for row in taken))}
    return {"runs": [offered(row, known[row["run_id"]], request) for row in taken]}


def offered(taken: Row, known: Row, request: HttpRequest) -> dict[str, Any]:
    case = Case.from_row(known, taken["attempt"])
    return {
        "run": case.public_id,
        "attempt": case.attempt,
        "release": f"{case.model}@{known['version']}",
        "target": known["target"],
        "inputs": handed(case),
        "timeout_seconds": case.timeout_seconds,
        "lease_seconds": settings.LEASE_SECONDS,
        "session": (known["door"] or DOOR) if case.is_session else "",
        "uploads": [
            {"index": index, "url": put_here(case, index, request), "content_type": content_type}
            for index in range(case.wanted_outputs())
            for content_type in [promised(case)]
        ],
    }


def put_here(case: Case, index: int, request: HttpRequest) -> str:
    content_type = promised(case)
    path = store.attempt_path(case.public_id, case.attempt, index, content_type)
    most = store.LARGEST[case.output_kind]
    url = sign.upload_url(path, content_type=content_type, most=most)
    return request.build_absolute_uri(url)


def promised(case: Case) -> str:
    """The type of what is delivered: the release's, unless the input `format` asks for another."""
    formats = case.facts.get("formats", {})
    return str(formats.get(case.inputs.get("format"), case.content_type))


# ── renew and report ──────────────────────────────────────────────────────────────────────────


@door
def renew_view(worker: Worker, body: Body, _: HttpRequest) -> dict[str, Any]:
    """Keep the lease; tells whether the run is to be cancelled."""
    run, attempt = held(worker, body)
    token.saw(worker)
    return leased(rows(claim.renew([(run, attempt)]))) | {"lease_seconds": settings.LEASE_SECONDS}


@door
def report_view(worker: Worker, body: Body, _: HttpRequest) -> dict[str, Any]:
    """Keep how far the run is, which renews too."""
    run, attempt = held(worker, body)
    told = body.get("progress")
    if not isinstance(told, dict):
        raise InvalidInput("`progress` must be an object.", param="progress")
    progress = {
        "run_id": run,
        "attempt": attempt,
        "stage": str(told.get("stage", ""))[:STAGE_LENGTH],
        "step": number(told.get("step", 0), "step"),
        "steps": number(told.get("steps", 0), "steps"),
        "preview": preview(told.get("preview")),
    }
    return leased(rows(claim.report([progress])))


def leased(answer: list[Row]) -> dict[str, Any]:
    """Raises StaleAttempt where the fence let nothing through."""
    if not answer:
        raise stale()
    return {"cancel": answer[0]["cancel"]}


def preview(value: Any) -> str:
    """A small picture as a data URI, or nothing."""
    text = value if isinstance(value, str) else ""
    fits = text.startswith("data:image/") and len(text) <= PREVIEW_LENGTH
    return text if fits else ""


# ── complete ──────────────────────────────────────────────────────────────────────────────────


@door
def complete_view(worker: Worker, body: Body, _: HttpRequest) -> dict[str, Any]:
    """End an attempt. Told again it gives the same answer and does nothing.

    A result that comes after its lease is welcome for as long as nobody has claimed the run again.
    """
    run, attempt = held(worker, body)
    token.saw(worker)
    mine = rows((MINE_SQL, [run, attempt, worker.name]))[0]
    known = rows(claim.cases([run]))[0]
    if known["attempt"] == attempt and known["state"] not in {"queued", "running"}:
        return {"state": known["state"]}
    if mine["outcome"] == "lost" and may_go_again(body):
        return {"state": "queued"}
    if known["attempt"] != attempt:
        raise stale()
    if may_go_again(body) and (state := handed_back(run, attempt)):
        return {"state": state}
    return {"state": settled(Case.from_row(known, attempt), ending(known, body, mine["seconds"]))}


def may_go_again(body: Body) -> bool:
    """Whether the worker gave the run up without fault of its inputs."""
    error = body.get("error")
    retry = isinstance(error, dict) and error.get("retry") is True
    return body.get("state") == "lost" or (body.get("state") == "failed" and retry)


def handed_back(run: UUID, attempt: int) -> str:
    """Queue the run again and say so; nothing where it has no further chance."""
    answer = rows(claim.hand_back(run=run, attempt=attempt))
    if not answer:
        raise stale()
    if answer[0]["exhausted"]:
        return ""
    for row in rows(("SELECT queue FROM runs_run WHERE id = %s", [run])):
        hint.publish(row["queue"])
    return "queued"


def settled(case: Case, end: End) -> str:
    """Raises StaleAttempt."""
    answer = rows(settling([item(case, end)]))[0]
    if answer["code"] == "stale":
        raise stale()
    return str(answer["state"])


def ending(known: Row, body: Body, seconds: Decimal) -> End:
    """What the worker's words and our own measures make of the attempt."""
    if known["segment"] == SESSION:  # it speaks at the door; here it only says that it gave up
        return lost(known)
    usage: Body = said if isinstance(said := body.get("usage"), dict) else {}
    reported = {"gpu_second": quantity(usage.get("gpu_seconds", 0), "usage.gpu_seconds")}
    case = Case.from_row(known, known["attempt"])
    match body.get("state"):
        case "succeeded":
            return delivered(case, body, usage, reported, seconds)
        case "cancelled" if known["cancel"]:
            error = {"code": "cancelled", "message": "The run was cancelled."}
            return End("cancelled_after", (), reported, seconds, usage, error)
        case "cancelled":  # told to stop because its time was up
            return failed("our_error", "timeout", "The run took too long. You were not charged.")
        case "lost":
            return lost(known)
        case "failed":
            return unsuccessful(body.get("error"))
    raise InvalidInput("`state` must be succeeded, failed, cancelled or lost.", param="state")


def unsuccessful(error: Any) -> End:
    found = error if isinstance(error, dict) else {}
    code = str(found.get("code", "worker_failed"))[:40]
    message = str(found.get("message", "The worker failed."))[:300]
    return failed(OUTCOMES.get(code, "our_error"), code, message)


def delivered(
    case: Case, body: Body, usage: Body, reported: dict[str, Decimal], seconds: Decimal
) -> End:
    """Read every output back; one that is missing or other than announced does not count."""
    told = body.get("outputs")
    kept = []
    for found in told if isinstance(told, list) else []:
        if isinstance(found, dict) and (one := read_back(case, found)):
            kept.append(one)
    if not kept:
        message = "The worker delivered nothing usable. You were not charged."
        return failed("our_error", "no_output", message)
    return End(
        "succeeded",
        tuple(kept[: case.wanted_outputs()]),
        reported | {"image": Decimal(len(kept))},
        seconds,
        usage,
    )


def read_back(case: Case, found: Body) -> Kept | None:
    """The stored file of one announced output, measured."""
    index = number(found.get("index"), "outputs.index")
    content_type = promised(case)
    path = store.attempt_path(case.public_id, case.attempt, index, content_type)
    try:
        with store.local(path) as file:
            if store.digest(file) != found.get("sha256"):
                return None
            measures = shown(prober().probe(file), case.output_kind)
            size = file.stat().st_size
    except (FileNotFoundError, ProbeFailed):
        return None
    if (measures.kind, measures.content_type) != (case.output_kind, content_type):
        return None
    return Kept(path, size, str(found["sha256"]), measures)


def shown(measures: Measures, kind: str) -> Measures:
    """A moving picture counts as the clip that it is where a clip was asked for."""
    moves = kind == "video" and measures.kind == "image" and measures.seconds
    return replace(measures, kind=kind) if moves else measures


# ── reading a body ────────────────────────────────────────────────────────────────────────────


def held(worker: Worker, body: Body) -> tuple[UUID, int]:
    """The run and attempt that the body names. Raises NotFound for what another worker holds."""
    run = ids.private("run", str(body.get("run")))
    attempt = number(body.get("attempt"), "attempt")
    if run is None or not rows((MINE_SQL, [run, attempt, worker.name])):
        raise NotFound("This worker holds no such attempt.")
    return run, attempt


def number(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_COUNT:
        raise InvalidInput(f"`{name}` must be a whole number.", param=name)
    return value


def quantity(value: Any, name: str) -> Decimal:
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or not 0 <= found <= LARGEST_COUNT:
        raise InvalidInput(f"`{name}` must be a number, not negative.", param=name)
    return found.quantize(Decimal("0.000001"))


def names(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InvalidInput("`resident` must be a list of names.", param="resident")
    return value[:100]


def stale() -> StaleAttempt:
    return StaleAttempt("This attempt has lost its lease.")
