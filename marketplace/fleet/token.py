"""Who a GPU worker is: a bearer token, of which only the SHA-256 is kept.

A token opens claim, renew, report and complete for attempts that its worker holds, nothing else.
"""

import hashlib
from datetime import datetime, timedelta

from django.utils import timezone

from marketplace.errors import NotAuthenticated
from marketplace.fleet.models import Pool, Residency, Worker

SCHEME = "Bearer "
SEEN_EVERY = timedelta(seconds=3)  # at most this often a row is written to say so


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def register(*, name: str, pool: str, token: str) -> Worker:
    """Let a worker in. Repeats safely; another token for the same name replaces the first."""
    found, _ = Pool.objects.get_or_create(slug=pool, defaults={"name": pool})
    worker, _ = Worker.objects.update_or_create(
        name=name, defaults={"pool": found, "digest": digest(token), "revoked_at": None}
    )
    return worker


def bearer(header: str) -> Worker:
    """The worker that an Authorization header names. Raises NotAuthenticated."""
    if header.startswith(SCHEME):
        known = Worker.objects.select_related("pool").filter(revoked_at=None)
        if worker := known.filter(digest=digest(header.removeprefix(SCHEME))).first():
            return worker
    raise NotAuthenticated("A worker's token is needed.")


def saw(worker: Worker, *, resident: list[str] | None = None) -> None:
    """Note that the worker lives, and what it says it has loaded; rarely enough to cost nothing."""
    now = timezone.now()
    fresh = worker.last_seen_at is not None and now - worker.last_seen_at < SEEN_EVERY
    if not fresh:
        Worker.objects.filter(pk=worker.pk).update(last_seen_at=now)
    if resident is not None:
        note_residents(worker, set(resident), now, fresh=fresh)


def note_residents(worker: Worker, resident: set[str], now: datetime, *, fresh: bool) -> None:
    known = set(worker.residencies.values_list("target", flat=True))
    if known == resident and fresh:
        return
    worker.residencies.exclude(target__in=resident).delete()
    rows = [Residency(worker=worker, target=target, seen_at=now) for target in resident]
    Residency.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["worker", "target"],
        update_fields=["seen_at"],
    )
