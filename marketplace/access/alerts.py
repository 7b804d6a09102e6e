"""Tell a team's owners by e-mail that a budget is half used, nearly, wholly, or refused a run.

The alerts' rows are the outbox: written in the commit that crosses the line, told once it stands,
at least once. Several lines that one run crossed are one e-mail.
"""

import logging

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone

from marketplace.access import view
from marketplace.access.models import BudgetAlert, Spending
from marketplace.accounts.models import Member

log = logging.getLogger(__name__)
AT_ONCE = 100


def tell_owners() -> int:
    """Send what is untold; gives the number of e-mails. A mail server that is away ends it."""
    untold = BudgetAlert.objects.filter(told_at=None).order_by("spending_id")
    spendings = untold.values_list("spending_id", flat=True).distinct()[:AT_ONCE]
    told = 0
    for spending_id in list(spendings):
        try:
            told += tell(spending_id)
        except OSError as reason:  # SMTP's errors are some
            log.warning("owners are told of budgets later: %s", reason)
            break
    return told


@transaction.atomic
def tell(spending_id: int) -> int:
    """Send one e-mail for all that is untold of a spending; another process may be at it."""
    waiting = BudgetAlert.objects.select_for_update(skip_locked=True).order_by("percent", "cause")
    alerts = list(waiting.filter(spending_id=spending_id, told_at=None))
    if not alerts:
        return 0
    BudgetAlert.objects.filter(id__in=[a.id for a in alerts]).update(told_at=timezone.now())
    spending = Spending.objects.select_related("budget__team").get(id=spending_id)
    owners = Member.objects.filter(team=spending.budget.team, role=Member.Role.OWNER)
    addresses = [email for email in owners.values_list("user__email", flat=True) if email]
    subject, body = words(spending, alerts[-1])
    return send_mail(subject, body, None, addresses) if addresses else 0


def words(spending: Spending, alert: BudgetAlert) -> tuple[str, str]:
    """Subject and text of the e-mail for the highest line that was crossed."""
    [used] = view.named([spending], {spending.budget_id: spending.budget})
    refused = alert.cause == BudgetAlert.Cause.REFUSED
    what = "refused a run" if refused else f"is {alert.percent} % spent"
    context = {
        "used": used,
        "budget": spending.budget,
        "team": spending.budget.team,
        "refused": refused,
        "what": what,
        "whose": whose(spending.budget.kind, used.subject),
        "url": f"{settings.SITE_URL}/budgets/{spending.budget.public_id}",
    }
    title = f"The budget of {context['whose']} {what}"
    return title, render_to_string("budgets/alert.txt", context)


def whose(kind: str, subject: str) -> str:
    """`end user u-7`; for the team just that."""
    return "the team" if kind == "team" else f"{kind.replace('_', ' ')} {subject}"
