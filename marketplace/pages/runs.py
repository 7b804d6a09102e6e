"""A team's runs: the list, one run with its receipt, the part of it that lives, a cancel."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.db import connection
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from marketplace import ids
from marketplace.access.attribution import END_USER, PROJECT
from marketplace.accounts.models import Team, User
from marketplace.errors import KinoraError, NotFound
from marketplace.ledger.balance import balance
from marketplace.ledger.models import Hold
from marketplace.metering.sale import WITHHELD, withheld
from marketplace.pages.team import team_page
from marketplace.pages.timeline import TERMINAL, timeline
from marketplace.pages.wheel import lit_leaves
from marketplace.pages.words import REASONS
from marketplace.runs import stream_ticket
from marketplace.runs.models import Progress, RefundRequest, Run
from marketplace.runs.receipt import receipt
from marketplace.runs.refunds import ask
from marketplace.runs.review import answer_by
from marketplace.runs.view import links
from marketplace.webhooks.models import Delivery

PAGE = 50
MARKS = {"project": PROJECT, "end_user": END_USER}  # what the list can be narrowed by


def run_uuid(public_id: str) -> UUID:
    """The UUID of a public id; what is no id is as unknown as another team's."""
    found = ids.private("run", public_id)
    if found is None:
        raise Http404("There is no such run.")
    return found


@team_page
@require_GET
def index(request: HttpRequest, team: Team) -> HttpResponse:
    """Fifty runs, newest first; `before` names the last one of the page before."""
    asked = {name: request.GET.get(name, "") for name in MARKS}
    only = {name: value for name, value in asked.items() if MARKS[name].fullmatch(value)}
    runs = Run.objects.filter(team=team, **only).order_by("-id")
    runs = runs.select_related("release__model__lab")
    if before := ids.private("run", request.GET.get("before", "")):
        runs = runs.filter(id__lt=before)
    page = list(runs[: PAGE + 1])
    holds = {hold.run_id: hold for hold in Hold.objects.filter(run_id__in=[r.id for r in page])}
    secret = withheld({run.release_id for run in page}, team.id, request.user.pk)
    rows = [
        {
            "run": run,
            "hold": holds.get(run.id),
            "took": took(run),
            "model": WITHHELD if run.release_id in secret else run.release.model.full_name,
        }
        for run in page[:PAGE]
    ]
    more = page[PAGE - 1].public_id if len(page) > PAGE else ""
    older = urlencode(only | {"before": more})
    context = {"rows": rows, "more": more, "older": older, "only": only}
    return render(request, "runs/index.html", context)


def took(run: Run) -> timedelta | None:
    """From the first claim to the end; None before that."""
    return run.finished_at - run.started_at if run.finished_at and run.started_at else None


@team_page
@require_GET
def run(request: HttpRequest, team: Team, run_id: str) -> HttpResponse:
    """One run with everything that is known of it."""
    return render(request, "runs/run.html", run_context(run_uuid(run_id), team.id))


@team_page
@require_GET
def live(request: HttpRequest, team: Team, run_id: str) -> HttpResponse:
    """The stage with its receipt, for htmx: asked for once a followed run has ended."""
    context = run_context(run_uuid(run_id), team.id)
    return render(request, "runs/live.html", context | {"spendable": balance(team.id).available})


@team_page
@require_GET
def details(request: HttpRequest, team: Team, run_id: str) -> HttpResponse:
    """The whole of a run's page below its heading, for htmx once the run has ended."""
    context = run_context(run_uuid(run_id), team.id)
    context |= {"spendable": balance(team.id).available, "swap": True}
    return render(request, "runs/details.html", context)


@team_page
@require_POST
def cancel(request: HttpRequest, team: Team, run_id: str) -> HttpResponse:
    """Ask for a cancel; a run that has ended stays as it is."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT state FROM cancel_run(%s, %s)", [run_uuid(run_id), team.id])
        if cursor.fetchone() is None:
            raise Http404("There is no such run.")
    if getattr(request, "htmx", False):
        return HttpResponse("Cancelling")
    return redirect("run", run_id=run_id)


@team_page
@require_POST
def refund(request: HttpRequest, team: Team, run_id: str) -> HttpResponse:
    """Ask for a refund; what is found at once or later stands on the run's page."""
    user = request.user if isinstance(request.user, User) else None
    found = ids.private("run", run_id)
    asked, note = request.POST.get("reason"), request.POST.get("note", "")
    try:
        request_of, _ = ask(run=found, team_id=team.id, reason=asked, note=note, user=user)
    except NotFound:
        raise Http404("There is no such run.") from None
    except KinoraError as error:
        messages.error(request, error.message)
        return redirect("run", run_id=run_id)
    if request_of.state == RefundRequest.State.GRANTED:
        messages.success(request, "You have it back: what you told us is what we found.")
    elif request_of.looked_at is None:
        messages.success(request, "We look at the files again. It takes a moment.")
    else:
        messages.success(request, "A person looks at it and answers here.")
    return redirect("run", run_id=run_id)


@team_page
@require_GET
def refunds(request: HttpRequest, team: Team, run_id: str) -> HttpResponse:
    """What became of a request, for htmx while the files are looked at; then the page is due."""
    context = run_context(run_uuid(run_id), team.id)
    if not context["looking"]:
        return HttpResponse(headers={"HX-Refresh": "true"})
    return render(request, "runs/refund.html", context)


def run_context(run_id: UUID, team_id: UUID) -> dict[str, Any]:
    """What the templates of one run show. Raises Http404 alike for another team's and for none."""
    try:
        shown = receipt(run_id, team_id)
    except NotFound:
        raise Http404("There is no such run.") from None
    progress = Progress.objects.filter(run_id=run_id).first()
    ended = shown["state"] in TERMINAL
    lab, _, slug = shown["model"].partition("/")
    return {
        "run": shown,
        "lab": lab,
        "slug": slug,
        "ended": ended,
        "inputs": sorted(shown["inputs"].items(), key=lambda item: item[0] != "prompt"),
        "leaves": timeline(shown),
        "progress": None if ended else progress,
        "lit": lit_leaves(progress.step, progress.steps) if progress and not ended else 0,
        "video": not shown["outputs"] and "seconds" in shown["inputs"],
        "events": events_address(run_id),
        "amount_due": shown["cost"]["captured"]["nano"],
        "entries_sum": sum(entry["amount"]["nano"] for entry in shown["entries"]),
        "told": told(run_id, team_id),
        "reasons": REASONS.items(),
        "looking": any(asked["looked_at"] is None for asked in shown["refund_requests"]),
        "answer_by": answer_due(shown),
        "may_ask": refundable(shown),
        "again": urlencode(shown["inputs"]),
    }


def answer_due(shown: dict[str, Any]) -> datetime | None:
    """Until when a person decides about the charge; None where nobody has to."""
    if shown["cost"]["state"] != "in_review" or not shown["finished_at"]:
        return None
    return answer_by(datetime.fromisoformat(str(shown["finished_at"])))


def told(run_id: UUID, team_id: UUID) -> QuerySet[Delivery]:
    """What was sent about a run, with every attempt."""
    mine = Delivery.objects.filter(run_id=run_id, team_id=team_id).order_by("rank", "id")
    return mine.prefetch_related("attempts")


def refundable(shown: dict[str, Any]) -> bool:
    """Whether anything of the charge is left and nobody has asked for it already."""
    back = sum(refund["amount"]["nano"] for refund in shown["refunds"])
    waits = any(asked["state"] == "open" for asked in shown["refund_requests"])
    return shown["cost"]["captured"]["nano"] > back and not waits


def events_address(run_id: UUID) -> str:
    """Where this page's EventSource follows the run, with its own pass."""
    events = links(ids.public("run", run_id))["events"]
    return f"{events}?{urlencode({'ticket': stream_ticket.sign(run_id)})}"
