"""Open labs' secrets. Only the supplier's process imports this, and the command that turns keys."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from marketplace.vault import masters
from marketplace.vault.envelope import Envelope, Name, VaultError, rewrap, unseal
from marketplace.vault.lock import envelope_of
from marketplace.vault.models import LabSecret

GOOD_SQL = """
    SELECT lab, field, version, sealed, wrapped, master FROM vault_labsecret
     WHERE ends_at IS NULL OR ends_at > now() ORDER BY lab, field, version DESC"""


@dataclass(frozen=True, slots=True)
class Purse:
    """What is good now: (lab, field) → texts, the newest first. wrong: lab → why one is not."""

    texts: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict, repr=False)
    wrong: Mapping[str, str] = field(default_factory=dict)

    def of(self, lab: str, name: str = "api_key") -> tuple[str, ...]:
        return self.texts.get((lab, name), ())


def opened(rows: Iterable[Mapping[str, Any]]) -> Purse:
    """rows: of GOOD_SQL. One that cannot be opened does not keep the others shut."""
    texts: dict[tuple[str, str], tuple[str, ...]] = {}
    wrong: dict[str, str] = {}
    for row in rows:
        name = Name(row["lab"], row["field"], row["version"])
        found = Envelope(bytes(row["sealed"]), bytes(row["wrapped"]), row["master"])
        try:
            text = unseal(found, name, masters.masters())
        except VaultError as fault:
            wrong[name.lab] = str(fault)
            continue
        place = (name.lab, name.field)
        texts[place] = (*texts.get(place, ()), text)
    return Purse(texts, wrong)


@transaction.atomic
def turn() -> int:
    """Lock all for the first master key that others of the process's keys still open. Repeats
    safely; gives how many were not yet. Raises VaultError, and then changes none."""
    keys = masters.masters()
    to = keys[0].public
    left = LabSecret.objects.select_for_update().exclude(master=to.fingerprint)
    for each in left:
        again = rewrap(*envelope_of(each), keys, to)
        each.wrapped, each.master = again.wrapped, again.master
        each.save(update_fields=["wrapped", "master"])
    return len(left)
