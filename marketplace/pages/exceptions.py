"""The console's inbox: runs whose witnesses disagree, refunds that teams ask for, and decisions.

A decision is shown with what it does before it is made, and kept with who made it and why.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from marketplace import ids
from marketplace import money as amounts
from marketplace.accounts.models import User
from marketplace.errors import InvalidInput, KinoraError, NotFound
from marketplace.ledger.models import Hold
from marketplace.money import Money
from marketplace.pages.staff import staff_page
from marketplace.runs import claim, fate, uncosted
from marketplace.runs.connections import Row, rows
from marketplace.runs.models import Decision, RefundRequest, Run
from marketplace.runs.receipt import receipt
from marketplace.runs.refunds import grant, left, refuse
from marketplace.runs.review import answer_by, cost, decide, ended_at

SHOWN = 200
DECIDED = 10
ACTS = ("charge", "void", "grant", "refuse")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits for a decision. request: None where its hold is in review."""

    run: Run
    hold: Hold
    request: RefundRequest | None
    deadline: datetime

    @property
    def late(self) -> bool:
        return self.deadline < timezone.now()


@dataclass(frozen=True, slots=True)
class Wish:
    """A decision as the form has it, checked. says: what it does, for the confirmation."""

    act: str
    amount: int | None
    charged: dict[str, Decimal]
    words: str
    why: str
    says: str


@staff_page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """What waits, the most urgent first, and what was decided last."""
    waiting = sorted([*reviews(), *requests()], key=lambda found: found.deadline)
    decided = Decision.objects.select_related("user").order_by("-id")[:DECIDED]
    context = {"waiting": waiting, "late": sum(w.late for w in waiting), "decided": decided}
    context |= {"uncosted": uncosted.waiting(), "fates": fate.waiting()}
    return render(request, "console/exceptions.html", context)


def reviews(run_id: UUID | None = None) -> list[Waiting]:
    holds = Hold.objects.filter(state=Hold.State.IN_REVIEW).order_by("created_at")
    found = (holds.filter(run_id=run_id) if run_id else holds)[:SHOWN]
    by_id = {hold.run_id: hold for hold in found}
    return [
        Waiting(run, by_id[run.id], None, answer_by(ended_at(run)))
        for run in whole(Run.objects.filter(id__in=by_id))
    ]


def requests(run_id: UUID | None = None) -> list[Waiting]:
    open_ones = RefundRequest.objects.filter(state=RefundRequest.State.OPEN).order_by("deadline_at")
    found = (open_ones.filter(run_id=run_id) if run_id else open_ones)[:SHOWN]
    asked = {request.run_id: request for request in found}
    holds = {hold.run_id: hold for hold in Hold.objects.filter(run_id__in=asked)}
    return [
        Waiting(run, holds[run.id], asked[run.id], asked[run.id].deadline_at)
        for run in whole(Run.objects.filter(id__in=asked))
    ]


def whole(found: Any) -> Any:
    return found.select_related("team", "release__model__lab")


@staff_page
@require_http_methods(["GET", "POST"])
def one(request: HttpRequest, run_id: str) -> HttpResponse:
    """One run: the witnesses, the output, what each decision does. POST asks, then decides."""
    found_id = ids.private("run", run_id)
    found = (reviews(found_id) or requests(found_id)) if found_id else []
    if not found:
        raise Http404("Nothing waits here.")
    context = shown(found[0])
    if request.method == "POST":
        try:
            wish = read(request.POST, found[0], context)
            if request.POST.get("confirmed"):
                return done(request, found[0], wish)
            context["wish"] = wish
        except KinoraError as error:
            context["wrong"] = error.message
        context["given"] = request.POST
    return render(request, "console/exception.html", context)


def shown(found: Waiting) -> dict[str, Any]:
    """What the page of one run shows."""
    told = receipt(found.run.id, found.run.team_id)
    [known] = rows(claim.cases([found.run.id]))
    return {
        "found": found,
        "run": told,
        "known": known,
        "prompt": found.run.inputs.get("prompt", ""),
        "left": left(found.run.id),
        "events": [event | {"least": least(event)} for event in told["usage"]],
        "choices": choices(known, told["usage"]) if found.request is None else [],
    }


def least(event: Row) -> str:
    """What most of all may be charged: the least that any witness said."""
    said = [
        event[name] for name in ("requested", "reported", "measured") if event[name] is not None
    ]
    return str(min(said, key=Decimal))


def choices(known: Row, usage: list[Row]) -> list[dict[str, Any]]:
    """What the run would be charged by each witness alone, at most what is held."""
    found = []
    for name, words in (("requested", "as asked"), ("reported", "as reported"),
                        ("measured", "as measured")):  # fmt: skip
        used = {e["unit"]: Decimal(e[name]) for e in usage if e[name] is not None}
        if len(used) == len(usage):
            due = cost(known, used)
            found.append({"words": words, "amount": due, "too_much": due > known["held"]})
    return found


@staff_page
@require_POST
def cost_of(request: HttpRequest, run_id: str) -> HttpResponse:
    """Book what a run cost us of which no tariff says it."""
    found, admin = ids.private("run", run_id), request.user
    if found is None or not isinstance(admin, User):
        raise Http404("Nothing waits here.")
    try:
        amount = amounts.parse(request.POST.get("amount", "").strip().removeprefix("$"))
        uncosted.book(run=found, amount=amount, admin=admin, why=request.POST.get("why", ""))
        messages.success(request, f"Booked: {said(amount)}.")
    except ValueError:
        messages.error(request, "An amount in dollars, 0 where it cost nothing.")
    except NotFound:
        raise Http404("Nothing waits here.") from None
    except KinoraError as error:
        messages.error(request, error.message)
    return redirect("exceptions")


@staff_page
@require_POST
def fate_of(request: HttpRequest, run_id: str) -> HttpResponse:
    """Say what became of a job at its lab, by what a person knows."""
    found, admin = ids.private("run", run_id), request.user
    made = {"made": True, "absent": False}.get(request.POST.get("state", ""))
    if found is None or not isinstance(admin, User) or made is None:
        raise Http404("Nothing waits here.")
    try:
        fate.close(run=found, made=made, admin=admin, why=request.POST.get("why", ""))
        messages.success(request, "Kept. " + ("Now book its cost." if made else "It cost nothing."))
    except NotFound:
        raise Http404("Nothing waits here.") from None
    except KinoraError as error:
        messages.error(request, error.message)
    return redirect("exceptions")


# ── a decision ────────────────────────────────────────────────────────────────────────────────


def read(form: QueryDict, found: Waiting, context: dict[str, Any]) -> Wish:
    """The form's decision. Raises InvalidInput in words for the admin."""
    act, words, why = (form.get(name, "").strip()[:500] for name in ("act", "words", "why"))
    if act not in (ACTS[2:] if found.request else ACTS[:2]):
        raise InvalidInput("Choose one of the decisions.")
    if not why:
        raise InvalidInput("Say why: it is kept with the decision.")
    if act in ("refuse", "grant") and not words:
        raise InvalidInput("Say what the customer reads.")
    if act == "charge":
        charged = {e["unit"]: decimal(form.get(e["unit"], "")) for e in context["events"]}
        due = cost(context["known"], charged)
        if due > found.hold.amount:
            raise InvalidInput(
                f"That would be {said(due)}, but only {said(found.hold.amount)} is held."
            )
        return Wish(act, due, charged, words, why, f"Charge {said(due)} and give the rest back")
    if act == "grant":
        amount = whole_amount(form.get("amount", ""), context["left"])
        return Wish(act, amount, {}, words, why, f"Give {said(amount)} back")
    kept = "Charge nothing and give the whole hold back"
    return Wish(act, None, {}, words, why, kept if act == "void" else "Refuse the refund")


def said(nano: int) -> str:
    return str(Money(nano, "USD"))


def decimal(text: str) -> Decimal:
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        raise InvalidInput(f"“{text[:40]}” is not a quantity.") from None


def whole_amount(text: str, rest: int) -> int:
    """Nano-units of what the admin typed; nothing means all that is left."""
    try:
        nano = amounts.parse(text.strip().removeprefix("$")) if text.strip() else rest
    except ValueError:
        raise InvalidInput(f"“{text[:40]}” is not an amount.") from None
    if not 0 < nano <= rest:
        raise InvalidInput(f"An amount from 0 up to {said(rest)}, which is left of the charge.")
    return nano


def done(request: HttpRequest, found: Waiting, wish: Wish) -> HttpResponse:
    """Make the decision. Raises KinoraError where somebody was quicker."""
    admin = request.user if isinstance(request.user, User) else None
    if found.request is None:
        decide(run=found.run.id, charged=wish.charged, admin=admin, words=wish.words, why=wish.why)
    elif wish.act == "grant":
        grant(
            request=found.request.id, amount=wish.amount, admin=admin, words=wish.words,
            why=wish.why,
        )  # fmt: skip
    elif admin:
        refuse(request=found.request.id, admin=admin, words=wish.words, why=wish.why)
    messages.success(request, f"Decided: {wish.says[0].lower()}{wish.says[1:]}.")
    return redirect("exceptions")
