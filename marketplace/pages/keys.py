"""API keys: make one, see it once, revoke it."""

from collections.abc import Iterable

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from marketplace import ids
from marketplace.accounts import keys
from marketplace.accounts.models import ApiKey, Team, User
from marketplace.pages.team import needs, scopes, team_page


class NewKey(forms.Form):
    name = forms.CharField(
        max_length=80, help_text="For yourself, such as “laptop” or “production”."
    )
    manages = forms.BooleanField(
        required=False, label="May manage budgets", help_text="Of no use to a server."
    )


@team_page
@never_cache
@require_http_methods(["GET", "POST"])
def index(request: HttpRequest, team: Team) -> HttpResponse:
    """The list, and the new key's text in the answer that makes it, nowhere else."""
    form = NewKey(request.POST or None)
    made, text = None, ""
    if request.method == "POST" and form.is_valid():
        user = request.user if isinstance(request.user, User) else None
        wanted = keys.SCOPES if form.cleaned_data["manages"] else keys.USUAL
        allowed(request, wanted)
        made, text = keys.create(
            team=team, name=form.cleaned_data["name"], created_by=user, scopes=wanted
        )
        form = NewKey()
    kept, may = list(team.keys.all()), set(scopes(request))
    live = [key for key in kept if not key.revoked_at]
    revocable = [key for key in live if may.issuperset(["run", *key.scopes])]
    context = {"form": form, "keys": kept, "revocable": revocable, "made": made, "text": text}
    return render(request, "keys/index.html", context)


@team_page
@require_POST
def revoke(request: HttpRequest, team: Team, key_id: str) -> HttpResponse:
    """End a key."""
    key = get_object_or_404(ApiKey, team=team, pk=ids.private("key", key_id))
    allowed(request, key.scopes)
    keys.revoke(key=key)
    messages.success(request, f"“{key.name}” is revoked. Calls with it fail within two seconds.")
    return redirect("keys")


def allowed(request: HttpRequest, wanted: Iterable[str]) -> None:
    """As over the API, nobody makes or ends a key that may do more than they may themselves.

    Raises PermissionDenied.
    """
    for scope in wanted:
        needs(request, scope)
