"""A team's budgets: what is used of each, and the forms that make and change them."""

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib import messages
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from marketplace import ids, money
from marketplace.access import budget as budgets
from marketplace.access import view
from marketplace.access.models import EACH, Budget
from marketplace.accounts.models import Team, User
from marketplace.errors import KinoraError
from marketplace.pages.team import needs, scopes, team_page

KINDS = (
    ("team", "The whole team"),
    ("member", "A member"),
    ("key", "A key"),
    ("project", "A project"),
    ("end_user", "An end user"),
)
PERIODS = (("month", "a month"), ("day", "a day"), ("total", "in all"))
HARD = (("yes", "Refuse what would pass it"), ("no", "Only tell the owners"))
FIELD_OF = {"models": "allowed"}


class Limits(forms.Form):
    """What can be changed of a budget. Values are judged by `access.wish`, as the API's are."""

    limit = forms.CharField(
        required=False, label="Limit, in dollars", widget=forms.TextInput({"inputmode": "decimal"})
    )
    hard = forms.ChoiceField(choices=HARD, label="At the limit")
    max_per_run = forms.CharField(
        required=False,
        label="At most for one run, in dollars",
        widget=forms.TextInput({"inputmode": "decimal"}),
    )
    concurrency = forms.CharField(
        required=False,
        label="Runs at once",
        help_text="The others wait.",
        widget=forms.TextInput({"inputmode": "numeric"}),
    )
    allowed = forms.CharField(
        required=False,
        label="Models",
        help_text="Labs or models with commas, such as kinora, rehearsal/clip. Empty: all.",
    )

    def wish(self) -> dict[str, Any]:
        """The fields of the API. What is no number goes as it is, to be refused by its field."""
        said = self.cleaned_data
        count = said["concurrency"].strip()
        return {
            "limit": said["limit"].strip().removeprefix("$") or None,
            "hard": said["hard"] == "yes",
            "max_per_run": said["max_per_run"].strip().removeprefix("$") or None,
            "concurrency": (int(count) if count.isdecimal() else count) if count else None,
            "models": [name for name in said["allowed"].replace(",", " ").split() if name],
        }

    def blame(self, refusal: KinoraError) -> None:
        """Show a refusal at its field, or above the form where it has none."""
        name = FIELD_OF.get(refusal.param or "", refusal.param or "")
        at = name if name in self.fields else None
        self.add_error(at, refusal.message.replace(f"{refusal.param} ", "This ", 1))


class NewBudget(Limits):
    kind = forms.ChoiceField(choices=KINDS, label="For")
    subject = forms.CharField(
        required=False,
        label="Which one",
        help_text="An e-mail address, a key’s id, a project or an end user. Empty: each by itself.",
        widget=forms.TextInput({"list": "subjects", "autocomplete": "off"}),
    )
    period = forms.ChoiceField(choices=PERIODS, label="Period")
    field_order = ("kind", "subject", "period")

    def wish(self) -> dict[str, Any]:
        said = self.cleaned_data
        which = said["subject"].strip()
        whole = said["kind"] == Budget.Kind.TEAM
        fixed = {"kind": said["kind"], "period": said["period"]}
        return super().wish() | fixed | {"subject": which or (None if whole else EACH)}


@team_page
@require_GET
def index(request: HttpRequest, team: Team) -> HttpResponse:
    """Open budgets with what is used of them now, then closed ones."""
    found = list(Budget.objects.filter(team=team).order_by("-id"))
    used = view.present(found)
    people = view.emails((budget, budget.subject) for budget in found)
    rows = [row(budget, used[budget.id], people) for budget in found]
    context = {
        "open": [one for one in rows if one["budget"].closed_at is None],
        "closed": [one for one in rows if one["budget"].closed_at],
        "undo": request.GET.get("closed", ""),
        "manages": "manage" in scopes(request),
        "zones": zones(),
        "zone": team.time_zone,
    }
    return render(request, "budgets/index.html", context)


def row(budget: Budget, used: list[view.Used], people: dict[str, str]) -> dict[str, Any]:
    return {
        "budget": budget,
        "subject": view.subject(budget.kind, budget.subject, people),
        "each": budget.subject == EACH,
        "used": used,
    }


@team_page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, team: Team) -> HttpResponse:
    """Make a budget."""
    needs(request, "manage")
    form = NewBudget(request.POST or None, initial=request.GET.dict())
    if request.method == "POST" and form.is_valid():
        user = request.user if isinstance(request.user, User) else None
        try:
            budgets.create(team=team, data=form.wish(), created_by=user)
        except KinoraError as refusal:
            form.blame(refusal)
        else:
            messages.success(request, "The budget holds from now on.")
            return redirect("budgets")
    context = {"form": form, "subjects": subjects(team)}
    return render(request, "budgets/new.html", context, status=422 if form.errors else 200)


@team_page
@require_http_methods(["GET", "POST"])
def budget(request: HttpRequest, team: Team, budget_id: str) -> HttpResponse:
    """One budget with its latest periods, and for owners the form that changes it."""
    found = owned(team, budget_id)
    form = Limits(request.POST or None, initial=said(found))
    if request.method == "POST":
        needs(request, "manage")
        if form.is_valid():
            try:
                budgets.change(budget=found, data=form.wish())
            except KinoraError as refusal:
                form.blame(refusal)
                found.refresh_from_db()
            else:
                messages.success(request, "Changed. It holds from now on.")
                return redirect("budget", budget_id=budget_id)
    people = view.emails([(found, found.subject)])
    context = {"form": form, "manages": "manage" in scopes(request), "history": view.history(found)}
    context |= row(found, [], people)
    return render(request, "budgets/budget.html", context, status=422 if form.errors else 200)


@team_page
@require_POST
def close(request: HttpRequest, team: Team, budget_id: str) -> HttpResponse:
    """Close a budget; the list then offers to undo it."""
    needs(request, "manage")
    budgets.close(budget=owned(team, budget_id))
    answer = redirect("budgets")
    answer["Location"] += f"?closed={budget_id}"
    return answer


@team_page
@require_POST
def reopen(request: HttpRequest, team: Team, budget_id: str) -> HttpResponse:
    needs(request, "manage")
    try:
        budgets.reopen(budget=owned(team, budget_id))
    except KinoraError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "The budget is open again.")
    return redirect("budgets")


@team_page
@require_POST
def zone(request: HttpRequest, team: Team) -> HttpResponse:
    """Set by which clocks days and months begin; periods under way end as they would have."""
    needs(request, "manage")
    if (name := request.POST.get("zone", "")) in zones():
        Team.objects.filter(id=team.id).update(time_zone=name)
        messages.success(request, f"Days and months begin at midnight in {name}.")
    else:
        messages.error(request, "There is no such time zone. Choose one of the list.")
    return redirect("budgets")


def zones() -> list[str]:
    """Time zones that both Python and the database know."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_timezone_names")
        return sorted({name for (name,) in cursor.fetchall()} & available_timezones())


def subjects(team: Team) -> list[tuple[str, str]]:
    """What the team has that a budget can be for: value, what it is."""
    people = [(email, "member") for email in team.members.values_list("email", flat=True)]
    return people + [
        (key.public_id, f"key “{key.name}”") for key in team.keys.filter(revoked_at=None)
    ]


def said(budget: Budget) -> dict[str, str]:
    """A budget as the form says it."""
    return {
        "limit": money.plain(budget.amount) if budget.amount else "",
        "hard": "yes" if budget.hard else "no",
        "max_per_run": money.plain(budget.max_per_run) if budget.max_per_run else "",
        "concurrency": str(budget.concurrency or ""),
        "allowed": ", ".join(budget.allowed),
    }


def owned(team: Team, public_id: str) -> Budget:
    """Raises Http404 alike for another team's budget and for none."""
    budget_id = ids.private("budget", public_id)
    if budget_id and (found := Budget.objects.filter(team=team, id=budget_id).first()):
        return found
    raise Http404("There is no such budget.")
