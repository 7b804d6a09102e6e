"""The playground: price a form as it is typed, run it, follow it, show what came out."""

import uuid
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from marketplace import errors, ids
from marketplace.accounts.models import Team
from marketplace.ledger.balance import balance
from marketplace.metering.offer import Offer
from marketplace.pages import explore
from marketplace.pages.form import InputsForm, LimitForm, inputs_form
from marketplace.pages.runs import run_context
from marketplace.pages.team import session_team, team_page
from marketplace.runs.session_ticket import Ticket, sign
from marketplace.runs.submit import submit_now


@require_POST
def price(request: HttpRequest, lab: str, slug: str) -> HttpResponse:
    """The price of the form as it stands; a dash while something in it is wrong.

    What is only missing, such as the prompt, does not keep the price back.
    """
    offer = explore.find_offer(request, lab, slug)
    form = inputs_form(offer.schema)(request.POST)
    context: dict[str, Any] = {"offer": offer, "priced": None}
    if form.is_right_so_far():
        inputs = {**offer.defaults, **form.inputs()}
        with suppress(errors.InvalidInput):
            context["priced"] = priced = offer.quote(inputs)
            context["predicted"] = offer.predicted(inputs)
            context["above"] = not LimitForm(request.POST).allows(priced.maximum)
    return render(request, "models/price.html", context)


@require_POST
@team_page
def play(request: HttpRequest, team: Team, lab: str, slug: str) -> HttpResponse:
    """Submit the form. With htmx the stage is swapped; without, the run's page opens."""
    offer = explore.find_offer(request, lab, slug)
    form, limit = inputs_form(offer.schema)(request.POST), LimitForm(request.POST)
    if not form.is_valid() or not limit.is_valid():
        return refused_form(request, offer, form, limit)
    try:
        run_id = submit_now(
            offer=offer,
            inputs=form.inputs(),
            team_id=team.id,
            user_id=request.user.pk,
            idempotency_key=request.POST.get("once") or None,
            max_cost=limit.cleaned_data["max_cost"],
        )
    except errors.InvalidInput as wrong:
        form.blame(wrong.param, wrong.message)
        return refused_form(request, offer, form, limit)
    except errors.CostAboveLimit as above:
        limit.add_error("max_cost", f"{above.message} You were not charged. Nothing is held.")
        return refused_form(request, offer, form, limit)
    except errors.KinoraError as refusal:
        return refused(request, refusal)
    if not getattr(request, "htmx", False):
        return redirect("run", run_id=ids.public("run", run_id))
    context = run_context(run_id, team.id) | {"once": uuid.uuid4(), "spendable": left(request)}
    return render(request, "runs/live.html", context)


@require_POST
@team_page
def session(request: HttpRequest, team: Team, lab: str, slug: str) -> HttpResponse:
    """The stage of a live session, with the pass that its script opens it with."""
    offer, limit = explore.find_offer(request, lab, slug), LimitForm(request.POST)
    if offer.session is None:
        raise Http404("This model has no sessions.")
    if not limit.is_valid():
        form = inputs_form(offer.schema)(request.POST)
        return refused_form(request, offer, form, limit)
    most = limit.cleaned_data["max_cost"]
    ticket = Ticket(int(request.user.pk or 0), team.id, offer.model, most)
    own = offer.facts.published.get("session_inputs", {})
    plain = {name: str(offer.defaults.get(name, "")) for name in own}
    context = {"plain": plain, "address": f"/live?{urlencode({'ticket': sign(ticket)})}"}
    return render(request, "models/live.html", context)


def left(request: HttpRequest) -> int:
    team = session_team(request)
    return balance(team.id).available if team else 0


def refused_form(
    request: HttpRequest, offer: Offer, form: InputsForm, limit: LimitForm
) -> HttpResponse:
    """The form again with the words at its fields; htmx puts it where the form was."""
    context = explore.page_context(offer, form) | {"limit": limit}
    if not getattr(request, "htmx", False):
        return render(request, "models/model.html", context, status=422)
    response = render(request, "models/form.html", context)
    response["HX-Retarget"], response["HX-Reswap"] = "#play", "outerHTML show:none"
    return response


def refused(request: HttpRequest, refusal: errors.KinoraError) -> HttpResponse:
    """What happened, that it cost nothing, and what to do next."""
    context: dict[str, Any] = {"refusal": refusal}
    if getattr(request, "htmx", False):
        return render(request, "runs/refused.html", context)
    return render(request, "runs/refused_page.html", context, status=refusal.status)
