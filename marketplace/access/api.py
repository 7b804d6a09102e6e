"""Budgets over the API: keys that read see them, an owner's key that manages makes and changes."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import ids
from marketplace.access import budget as budgets
from marketplace.access import view
from marketplace.access.authorise import authorise
from marketplace.access.models import Budget
from marketplace.access.wish import MOST_AT_ONCE, MOST_MODELS
from marketplace.accounts.api import KeyView, body_of, presented_key, team_of
from marketplace.accounts.models import Team
from marketplace.errors import NotAllowed, NotFound

MONEY = {"$ref": "#/components/schemas/Money"}
NO_MONEY = {"oneOf": [MONEY, {"type": "null"}]}
NO_TEXT = {"type": ["string", "null"]}
TIME = {"type": "string", "format": "date-time"}
NO_TIME = {"type": ["string", "null"], "format": "date-time"}
AMOUNT = {"type": ["string", "integer", "null"], "examples": ["25.00"]}
WHOSE: dict[str, Any] = {
    "kind": {"enum": Budget.Kind.values},
    "subject": {
        **NO_TEXT,
        "description": "* for each one by itself; a member's e-mail address, a key's id, a project "
        "or an end user. Left out for the team.",
    },
    "period": {"enum": Budget.Period.values, "default": "month"},
}
LIMITS: dict[str, Any] = {
    "limit": {**AMOUNT, "description": "Of spent and held together, in major units."},
    "hard": {"type": "boolean", "default": True, "description": "Refuses; a soft one alerts."},
    "models": {"type": "array", "items": {"type": "string"}, "maxItems": MOST_MODELS},
    "max_per_run": AMOUNT,
    "concurrency": {"type": ["integer", "null"], "minimum": 1, "maximum": MOST_AT_ONCE},
}
BUDGET_WISH = {
    "type": "object",
    "required": ["kind"],
    "additionalProperties": False,
    "properties": WHOSE | LIMITS,
}
BUDGET_CHANGE = {"type": "object", "additionalProperties": False, "properties": LIMITS}
SPENDING = {
    "type": "object",
    "properties": {
        "subject": NO_TEXT, "starts_at": TIME, "ends_at": NO_TIME, "spent": MONEY, "held": MONEY,
        "left": NO_MONEY,
    },
}  # fmt: skip
BUDGET = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        **WHOSE,
        "currency": {"type": "string"},
        **LIMITS,
        "limit": NO_MONEY,
        "max_per_run": NO_MONEY,
        "created_at": TIME,
        "closed_at": NO_TIME,
        "spendings": {"type": "array", "items": SPENDING},
    },
}
BUDGET_LIST = {"type": "object", "properties": {"data": {"type": "array", "items": BUDGET}}}


class Budgets(KeyView):
    """The team's budgets."""

    @extend_schema(operation_id="listBudgets", responses={200: BUDGET_LIST})
    def get(self, request: Request) -> Response:
        """The team's budgets, newest first, closed ones too, with what is used of them now."""
        found = list(Budget.objects.filter(team=team_of(request)).order_by("-id"))
        used, people = view.present(found), view.emails((b, b.subject) for b in found)
        return Response({"data": [view.as_json(b, used[b.id], people) for b in found]})

    @extend_schema(
        operation_id="createBudget",
        request={"application/json": BUDGET_WISH},
        responses={201: BUDGET},
    )
    def post(self, request: Request) -> Response:
        """Make a budget. It holds for every run that is admitted from now on."""
        team = managed_team(request)
        maker = presented_key(request).created_by
        made = budgets.create(team=team, data=body_of(request), created_by=maker)
        return Response(shown(made), status=201)


class OneBudget(KeyView):
    """One budget of the team."""

    @extend_schema(operation_id="getBudget", responses={200: BUDGET})
    def get(self, request: Request, budget: str) -> Response:
        """A budget with its latest hundred periods."""
        found = owned(team_of(request), budget)
        people = view.emails([(found, found.subject)])
        return Response(view.as_json(found, view.history(found), people))

    @extend_schema(
        operation_id="changeBudget",
        request={"application/json": BUDGET_CHANGE},
        responses={200: BUDGET},
    )
    def patch(self, request: Request, budget: str) -> Response:
        """Set other limits. What is used already stays counted."""
        found = owned(managed_team(request), budget)
        return Response(shown(budgets.change(budget=found, data=body_of(request))))

    @extend_schema(operation_id="closeBudget", request=None, responses={200: BUDGET})
    def delete(self, request: Request, budget: str) -> Response:
        """Close a budget: it limits nothing any more. Repeats safely; `reopen` undoes it."""
        return Response(shown(budgets.close(budget=owned(managed_team(request), budget))))


class Reopened(KeyView):
    """A closed budget, open again."""

    @extend_schema(operation_id="reopenBudget", request=None, responses={200: BUDGET})
    def post(self, request: Request, budget: str) -> Response:
        """Undo a close. Repeats safely."""
        return Response(shown(budgets.reopen(budget=owned(managed_team(request), budget))))


def managed_team(request: Request) -> Team:
    """The key's team. Raises NotAllowed where the key or its maker may not manage budgets."""
    key = presented_key(request)
    authorise(scopes=key.scopes, needs="manage")
    if not budgets.manages(key.team, key.created_by):
        raise NotAllowed("Only a key that an owner of the team made manages budgets.")
    return key.team


def owned(team: Team, public_id: str) -> Budget:
    """The team's budget; another team's is NotFound like one that never was."""
    budget_id: UUID | None = ids.private("budget", public_id)
    if budget_id and (found := Budget.objects.filter(id=budget_id, team=team).first()):
        return found
    raise NotFound("There is no such budget.", param="budget")


def shown(budget: Budget) -> dict[str, Any]:
    people = view.emails([(budget, budget.subject)])
    return view.as_json(budget, view.present([budget])[budget.id], people)
