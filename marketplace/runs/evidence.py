"""Whether what we can find out ourselves agrees with a team that asks for a refund.

Looks at the stored files again, at what was asked for, and at the team's other runs. Finds and
tells; moves no money. `docs/concepts.md` says what agrees when.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.utils import timezone

from marketplace.ledger.models import Hold
from marketplace.media import store
from marketplace.media.probe import Measures, ProbeFailed, prober
from marketplace.metering.units import unit_of
from marketplace.runs.models import Decision, Output, RefundRequest, Run

DUPLICATE = timedelta(minutes=10)  # how far apart two runs may be to be one by mistake
DUPLICATES_A_DAY = 20  # refunded without a person, per team
NOTHING = Fraction(0)


@dataclass(frozen=True, slots=True)
class Evidence:
    """share: of the charge that is due back, 0 where nothing agrees. facts: as they are kept."""

    share: Fraction
    facts: dict[str, Any]


def gather(run: Run, reason: str) -> Evidence:
    """What speaks for a request. Where a person has decided about the run before, a person decides
    again, whatever is found. Reads and decodes the run's files: seconds, outside a transaction."""
    found = FINDERS[reason](run)
    decided = Decision.objects.filter(run_id=run.id, user__isnull=False).exclude(
        act__in=("cost", "fate")
    )
    if decided.exists():
        return Evidence(NOTHING, found.facts | {"decided_before": True})
    return found


def of_outputs(run: Run, judge: Callable[[Output], tuple[bool, dict[str, Any]]]) -> Evidence:
    """The share of the outputs that are at fault."""
    outputs = list(run.outputs.order_by("position"))
    judged = [judge(output) for output in outputs]
    facts = [{"output": o.position} | told for o, (_, told) in zip(outputs, judged, strict=True)]
    faulty = sum(fault for fault, _ in judged)
    return Evidence(Fraction(faulty, len(outputs)) if faulty else NOTHING, {"outputs": facts})


def undecodable(run: Run) -> Evidence:
    """Files that are lost, altered or cannot be decoded any more."""

    def judge(output: Output) -> tuple[bool, dict[str, Any]]:
        state, _ = look(output)
        return state not in ("fine", "expired"), {"file": state}

    return of_outputs(run, judge)


def wrong_length(run: Run) -> Evidence:
    """Clips and sounds of another length than was asked for, by decoding them anew."""
    asked = run.inputs.get("seconds")

    def judge(output: Output) -> tuple[bool, dict[str, Any]]:
        state, measures = look(output)
        found = (measures.seconds if measures else None) or output.seconds
        told = {
            "file": state,
            "asked": str(asked),
            "measured": None if found is None else str(found),
        }
        if found is None or isinstance(asked, bool) or not isinstance(asked, int | float):
            return False, told
        return abs(found - Decimal(str(asked))) > unit_of("video_second").tolerance, told

    return of_outputs(run, judge)


def wrong_form(run: Run) -> Evidence:
    """Outputs that differed from what was asked for when they came, yet were charged."""
    faulty = {c["output"] for c in run.checks or () if not c["agrees"]}

    def judge(output: Output) -> tuple[bool, dict[str, Any]]:
        told = [c for c in run.checks or () if c["output"] == output.position]
        return output.position in faulty, {"checks": told}

    return of_outputs(run, judge)


def duplicate(run: Run) -> Evidence:
    """An earlier run of the team with the same body, close by, that gave the same bytes.

    Other bytes are no mistake that we could tell from a wish for variations: a person decides. The
    earlier run keeps its charge, so that of two twins one is paid.
    """
    near = Run.objects.filter(
        team_id=run.team_id,
        release_id=run.release_id,
        inputs_digest=run.inputs_digest,
        created_at__gte=run.created_at - DUPLICATE,
        id__lt=run.id,
    )
    mine = digests(run)
    twins = [twin for twin in near.order_by("id")[:50] if digests(twin) == mine and paid(twin)]
    facts = {
        "same_body": near.count(),
        "same_bytes": [twin.public_id for twin in twins],
        "had_key": run.idempotency_key is not None,
    }
    if not mine or not twins or refunded_today(run) >= DUPLICATES_A_DAY:
        return Evidence(NOTHING, facts)
    return Evidence(Fraction(1), facts)


def other(run: Run) -> Evidence:
    """Nothing that a machine could look at."""
    return Evidence(NOTHING, {})


FINDERS: dict[str, Callable[[Run], Evidence]] = {
    "undecodable": undecodable,
    "wrong_length": wrong_length,
    "wrong_form": wrong_form,
    "duplicate": duplicate,
    "other": other,
}
DECODING = frozenset({"undecodable", "wrong_length"})  # these take seconds


def look(output: Output) -> tuple[str, Measures | None]:
    """The stored file now: fine, lost, altered, undecodable, or expired as it was announced to."""
    if not output.path or output.expires_at <= timezone.now():
        return "expired", None
    try:
        with store.local(output.path) as file:
            if store.digest(file) != bytes(output.sha256).hex():
                return "altered", None
            return "fine", prober().probe(file)
    except FileNotFoundError:
        return "lost", None
    except ProbeFailed:
        return "undecodable", None


def digests(run: Run) -> list[str]:
    return [bytes(o.sha256).hex() for o in run.outputs.order_by("position")]


def paid(run: Run) -> bool:
    """Whether the run was charged, and not asked back as a duplicate itself."""
    given = RefundRequest.objects.filter(run=run, state="granted").exists()
    return not given and Hold.objects.filter(run_id=run.id, captured__gt=0).exists()


def refunded_today(run: Run) -> int:
    """Duplicates that the team got back in the last day without a person."""
    since = timezone.now() - timedelta(days=1)
    return RefundRequest.objects.filter(
        run__team_id=run.team_id, reason="duplicate", decided_by="system", decided_at__gte=since
    ).count()
