"""What happens when a person has proved an e-mail address: a team and a welcome credit.

Called by django-allauth through ACCOUNT_ADAPTER, in the request that proves the address.
"""

from datetime import timedelta

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from marketplace.accounts.models import Member, Team, User
from marketplace.ledger.transfer import grant_credit


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """allauth’s own behaviour, and a welcome. (allauth ships no types.)"""

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        with transaction.atomic():
            confirmed = bool(super().confirm_email(request, email_address))
            if confirmed:
                welcome(user=email_address.user)
        return confirmed


def welcome(*, user: User) -> Team:
    """Give a person without a team one of their own, with the welcome credit.

    Repeats safely: a second proved address finds the team that is there, and the credit's
    reference names the person.
    """
    user = User.objects.select_for_update().get(pk=user.pk)
    team = user.teams.order_by("id").first()
    if team is not None:
        return team
    team = Team.objects.create(name=user.email.partition("@")[0][:80])
    Member.objects.create(team=team, user=user, role=Member.Role.OWNER)
    if settings.WELCOME_CREDIT_NANO > 0:
        grant_credit(
            team=team,
            amount=settings.WELCOME_CREDIT_NANO,
            name="Welcome credit",
            expires_at=timezone.now() + timedelta(days=settings.WELCOME_CREDIT_DAYS),
            reference=f"welcome:{user.pk}",
            note="Welcome to Kinora",
        )
    return team
