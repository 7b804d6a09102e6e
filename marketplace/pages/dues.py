"""The console's desk for labs: prices that they propose, and bills that differ from our books."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from marketplace import ids
from marketplace.accounts.models import User
from marketplace.errors import KinoraError
from marketplace.pages.staff import staff_page
from marketplace.payouts.differences import settle_difference, waiting
from marketplace.payouts.models import Difference, PriceProposal, Statement
from marketplace.payouts.propose import accept, refuse

CLOSED = 12


@staff_page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """What waits for an answer, and the statements that were closed last."""
    proposals = PriceProposal.objects.filter(state=PriceProposal.State.PROPOSED)
    context = {
        "proposals": proposals.select_related("release__model__lab").order_by("effective_from"),
        "differences": [shown(each) for each in waiting()],
        "statements": Statement.objects.select_related("lab").order_by("-closed_at")[:CLOSED],
    }
    return render(request, "console/dues.html", context)


def shown(found: Difference) -> dict[str, Any]:
    return {
        "it": found,
        "says": Difference.Kind(found.kind).label,
        "apart": found.billed - found.expected,
        "run": ids.public("run", found.run_id) if found.run_id else "",
    }


@staff_page
@require_POST
def proposal(request: HttpRequest, proposal_id: str) -> HttpResponse:
    """Accept or refuse a proposed price."""
    found = PriceProposal.objects.filter(id=named("prop", proposal_id)).first()
    decision, answer = request.POST.get("decision"), request.POST.get("answer", "")
    if found is None or decision not in ("accept", "refuse"):
        raise Http404("Nothing waits here.")
    try:
        if decision == "accept":
            done = accept(proposal=found, admin=admin_of(request), answer=answer)
            told = f"It begins on {done.effective_from:%d %B %Y at %H:%M} UTC."
        else:
            refuse(proposal=found, admin=admin_of(request), answer=answer)
            told = "The lab reads why."
        messages.success(request, told)
    except KinoraError as error:
        messages.error(request, error.message)
    return redirect("dues")


@staff_page
@require_POST
def difference(request: HttpRequest, difference_id: str) -> HttpResponse:
    """Pay as billed, or what was booked."""
    found = Difference.objects.filter(id=named("diff", difference_id)).first()
    accepted = {"billed": True, "booked": False}.get(request.POST.get("decision", ""))
    if found is None or accepted is None:
        raise Http404("Nothing waits here.")
    try:
        settle_difference(
            difference=found,
            accepted=accepted,
            admin=admin_of(request),
            why=request.POST.get("why", ""),
        )
        messages.success(request, "Booked." if accepted else "Kept: nothing is paid beyond.")
    except KinoraError as error:
        messages.error(request, error.message)
    return redirect("dues")


def named(prefix: str, text: str) -> UUID:
    """Raises Http404."""
    if found := ids.private(prefix, text):
        return found
    raise Http404("Nothing waits here.")


def admin_of(request: HttpRequest) -> User | None:
    return request.user if isinstance(request.user, User) else None
