"""A team's webhooks: endpoints, the log with every attempt, and what is to be sent again."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.errors import KinoraError, NotFound
from marketplace.pages.team import team_page
from marketplace.webhooks import endpoints, replay, schemes
from marketplace.webhooks.models import Delivery, Endpoint
from marketplace.webhooks.view import deliveries, owned_delivery, owned_endpoint, page

PAGE = 30
WORDS = {
    "run.started": "a run begins",
    "run.finished": "a run ends, however it ends",
    "video.completed": "a video is there, in OpenAI’s words",
    "video.failed": "a video failed, in OpenAI’s words",
}


class EndpointForm(forms.Form):
    """What the rooms' own checks say is shown at its field."""

    url = forms.CharField(
        label="Address",
        widget=forms.URLInput(attrs={"placeholder": "https://example.com/hooks/kinora"}),
        help_text="https, on port 443 or 8443. Redirects are not followed.",
    )
    name = forms.CharField(
        required=False, max_length=80, help_text="For yourself; may be left empty."
    )
    event_types = forms.MultipleChoiceField(
        label="Tell it when",
        choices=[(name, WORDS[name]) for name in schemes.TYPES],
        initial=["run.finished"],
        widget=forms.CheckboxSelectMultiple,
    )

    def refuse(self, error: KinoraError) -> None:
        """Show an error of the room at the field that it names."""
        self.add_error(error.param if error.param in self.fields else None, error.message)


@team_page
@never_cache
@require_http_methods(["GET", "POST"])
def index(request: HttpRequest, team: Team) -> HttpResponse:
    """Endpoints and the log; a new endpoint's secret is in the answer that makes it."""
    form = EndpointForm(request.POST or None)
    made, secret = None, ""
    if request.method == "POST" and form.is_valid():
        try:
            made, secret = endpoints.create(team=team, **form.cleaned_data)
            form = EndpointForm()
        except KinoraError as error:
            form.refuse(error)
    kept = list(team.endpoints.all())
    context = {"form": form, "endpoints": kept, "made": made, "secret": secret}
    return render(request, "webhooks/index.html", context | log(request, team, None))


@team_page
@never_cache
@require_http_methods(["GET", "POST"])
def endpoint(request: HttpRequest, team: Team, endpoint_id: str) -> HttpResponse:
    """One endpoint, to be changed, with its own log."""
    found = mine(team, endpoint_id)
    known = {"url": found.url, "name": found.name, "event_types": found.event_types}
    form = EndpointForm(request.POST or None, initial=known)
    if request.method == "POST" and form.is_valid():
        try:
            endpoints.change(endpoint=found, **form.cleaned_data)
            messages.success(request, "Saved. What still waits goes to this address.")
            return redirect("webhook", endpoint_id=endpoint_id)
        except KinoraError as error:
            form.refuse(error)
    context = {"form": form, "endpoint": found, "words": WORDS}
    return render(request, "webhooks/endpoint.html", context | log(request, team, found))


@team_page
@require_POST
def test(request: HttpRequest, team: Team, endpoint_id: str) -> HttpResponse:
    """Send a test event, and show what becomes of it."""
    try:
        sent = endpoints.send_test(endpoint=mine(team, endpoint_id))
    except KinoraError as error:
        messages.error(request, error.message)
        return redirect("webhook", endpoint_id=endpoint_id)
    return redirect("delivery", delivery_id=sent.public_id)


@team_page
@never_cache
@require_POST
def rotate(request: HttpRequest, team: Team, endpoint_id: str) -> HttpResponse:
    """Turn the secret; the new one is in this answer."""
    found = mine(team, endpoint_id)
    context = {"made": found, "secret": endpoints.rotate(endpoint=found), "turned": True}
    return render(request, "webhooks/secret.html", context)


@team_page
@never_cache
@require_POST
def own_secret(request: HttpRequest, team: Team) -> HttpResponse:
    """The secret of the webhooks that runs bring along, shown or turned."""
    turned = "turn" in request.POST
    secret = endpoints.rotate_team(team=team) if turned else endpoints.team_secret(team.id)
    return render(request, "webhooks/secret.html", {"secret": secret, "turned": turned})


@team_page
@require_POST
def switch(request: HttpRequest, team: Team, endpoint_id: str) -> HttpResponse:
    """Disable an endpoint, or enable it again."""
    off = "off" in request.POST
    endpoints.change(endpoint=mine(team, endpoint_id), disabled=off)
    messages.success(request, "It is disabled." if off else "It is enabled again.")
    return redirect("webhook", endpoint_id=endpoint_id)


@team_page
@require_POST
def remove(request: HttpRequest, team: Team, endpoint_id: str) -> HttpResponse:
    found = mine(team, endpoint_id)
    endpoints.remove(endpoint=found)
    messages.success(request, f"“{found}” is removed. Its log stays for 30 days.")
    return redirect("webhooks")


@team_page
@require_GET
def delivery(request: HttpRequest, team: Team, delivery_id: str) -> HttpResponse:
    """One delivery: what was sent, and every attempt."""
    found = owned(team, delivery_id)
    run = ids.public("run", found.run_id) if found.run_id else ""
    context = {"delivery": found, "run": run, "body": readable(found.body)}
    return render(request, "webhooks/delivery.html", context)


@team_page
@require_POST
def send_again(request: HttpRequest, team: Team, delivery_id: str) -> HttpResponse:
    try:
        replay.replay(delivery=owned(team, delivery_id))
        messages.success(request, "It is sent again, with the same id and body.")
    except KinoraError as error:
        messages.error(request, error.message)
    return redirect("delivery", delivery_id=delivery_id)


@team_page
@require_POST
def send_all_again(request: HttpRequest, team: Team) -> HttpResponse:
    """Replay every dead delivery that is kept, of one endpoint where it is named."""
    name = request.POST.get("endpoint", "")
    found = mine(team, name) if name else None
    end = timezone.now() + timedelta(minutes=1)
    count = replay.replay_range(
        team_id=team.id,
        start=end - replay.LONGEST,
        end=end,
        endpoint_id=found.id if found else None,
        states=[Delivery.State.DEAD.value],
    )
    said = f"{count} deliver{'y is' if count == 1 else 'ies are'} sent again."
    messages.success(request, said if count else "There was nothing that could be sent again.")
    return redirect("webhook", endpoint_id=name) if found else redirect("webhooks")


def log(request: HttpRequest, team: Team, only: Endpoint | None) -> dict[str, Any]:
    """A page of the log, of one endpoint or of all, in the state that is asked for."""
    found = deliveries(team)
    found = found.filter(endpoint=only) if only else found
    dead = found.filter(state=Delivery.State.DEAD).count()
    state = request.GET.get("state", "")
    shown = found.filter(state=state) if state in Delivery.State.values else found
    before = ids.private("whd", request.GET.get("before", ""))
    rows = page(shown, before=before, limit=PAGE)
    more = {"state": state, "before": rows[PAGE - 1].public_id} if len(rows) > PAGE else {}
    return {
        "rows": rows[:PAGE],
        "dead": dead,
        "state": state,
        "states": Delivery.State.values,
        "older": urlencode(more),
    }


def mine(team: Team, endpoint_id: str) -> Endpoint:
    """The team's endpoint. Raises Http404 alike for another team's and for none."""
    try:
        return owned_endpoint(team, endpoint_id)
    except NotFound:
        raise Http404("There is no such endpoint.") from None


def owned(team: Team, delivery_id: str) -> Delivery:
    """The team's delivery. Raises Http404 alike for another team's and for none."""
    try:
        return owned_delivery(team, delivery_id)
    except NotFound:
        raise Http404("There is no such delivery.") from None


def readable(body: str) -> str:
    """A JSON body with indents, for the eye."""
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
