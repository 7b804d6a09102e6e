"""A signed pass to follow one run for an hour, for a page whose EventSource can send no key."""

from uuid import UUID

from django.core.signing import BadSignature, TimestampSigner

from marketplace import ids

SECONDS = 3600
SIGNER = TimestampSigner(salt="run-events")


def sign(run_id: UUID) -> str:
    """The ticket; whoever holds it may read the run's events until it expires."""
    return SIGNER.sign(ids.public("run", run_id))


def read(ticket: str) -> UUID | None:
    """The run that the ticket opens, or None where it is forged or expired."""
    try:
        return ids.private("run", SIGNER.unsign(ticket, max_age=SECONDS))
    except BadSignature:
        return None
