"""The box on the front page: anybody may make a small picture, at the house's expense.

Bounded three ways: a daily credit in the ledger that no code can exceed, few runs at a time, and
few per visitor. A visitor sees only the runs of the own session.
"""

import uuid
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from marketplace import errors, ids
from marketplace.accounts.models import Team
from marketplace.ledger.transfer import grant_credit
from marketplace.metering.sale import load_offers
from marketplace.pages.runs import run_context, run_uuid
from marketplace.pages.team import session_team
from marketplace.runs.models import Run
from marketplace.runs.submit import submit_now

MODEL = "kinora/glyph"
HOUSE = UUID("018f0000-0000-7000-8000-00006b696e6f")  # the house's team, the same everywhere
AT_ONCE = 2
PER_VISITOR = 10
LONGEST = 80  # characters of a prompt


@require_POST
def make(request: HttpRequest) -> HttpResponse:
    """Start a picture. Without htmx, and for who has a team, the playground opens instead."""
    prompt = " ".join(request.POST.get("prompt", "").split())[:LONGEST] or "red heart"
    if session_team(request) or not getattr(request, "htmx", False):
        page = reverse("model", args=MODEL.split("/"))
        return redirect(f"{page}?{urlencode({'prompt': prompt})}")
    if reason := refusal(request):
        return render(request, "trial/closed.html", {"reason": reason})
    try:
        run_id = start(prompt=prompt)
    except errors.KinoraError:
        return render(request, "trial/closed.html", {"reason": "Today’s free pictures are made."})
    request.session["tries"] = [*tries(request), ids.public("run", run_id)]
    return shown(request, run_id)


@require_GET
def live(request: HttpRequest, run_id: str) -> HttpResponse:
    """A picture of this visitor's, once it has ended."""
    if run_id not in tries(request):
        raise Http404
    return shown(request, run_uuid(run_id))


def shown(request: HttpRequest, run_id: UUID) -> HttpResponse:
    return render(request, "trial/live.html", run_context(run_id, HOUSE))


def tries(request: HttpRequest) -> list[str]:
    return list(request.session.get("tries", []))


def refusal(request: HttpRequest) -> str:
    """Why no picture is made now; empty where one may be."""
    if settings.TRIAL_CREDIT_NANO <= 0:
        return "There are no free pictures here."
    if len(tries(request)) >= PER_VISITOR:
        return "You have made your free pictures."
    under_way = Run.objects.filter(team_id=HOUSE, finished_at=None).count()
    return "Others are at it right now. Try again in a few seconds." if under_way >= AT_ONCE else ""


def start(*, prompt: str) -> UUID:
    """Run the house's model. Raises the errors of `submit_now`, also when the credit is spent."""
    offer = load_offers().get(MODEL)
    if offer is None:
        raise errors.NotFound(f"There is no model {MODEL}.")
    return submit_now(
        offer=offer,
        inputs={"prompt": prompt},
        team_id=fund_house().id,
        idempotency_key=str(uuid.uuid4()),
    )


def fund_house() -> Team:
    """The house's team with today's credit. Repeats safely."""
    now = timezone.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    with transaction.atomic():
        team, _ = Team.objects.get_or_create(id=HOUSE, defaults={"name": "Kinora’s own"})
        grant_credit(
            team=team,
            amount=settings.TRIAL_CREDIT_NANO,
            name=f"Free pictures of {now:%-d %B %Y}",
            expires_at=midnight,
            reference=f"trial:{now:%Y-%m-%d}",
            note="The box on the front page",
        )
    return team
