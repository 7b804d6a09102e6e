"""What a fresh stack holds: releases with prices, a pool with a worker, two teams with keys.

Everything repeats safely. Secrets that people need again are kept under DATA/secrets.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from marketplace.accounts import keys
from marketplace.accounts.models import ApiKey, Member, Team, User
from marketplace.catalog.models import Example, Lab, Model, Release
from marketplace.embedded import roster
from marketplace.environment import kept_secret
from marketplace.fleet.models import Pool, Worker
from marketplace.ledger.balance import balance
from marketplace.ledger.models import Account
from marketplace.ledger.transfer import grant_credit
from marketplace.metering.outcomes import standard
from marketplace.metering.publish import publish
from marketplace.metering.segments import SESSION
from marketplace.metering.tariff import publish_tariff
from marketplace.money import NANO
from partners import registry
from partners.contract import Description

VERSION = "2026-11-20"
CREDIT = 5 * NANO
CREDIT_DAYS = 30
LEAST = NANO // 2  # a demo team with less gets another credit
LABS = {
    "kinora": ("Kinora", "Open models that we serve on our own workers."),
    "rehearsal": ("Rehearsal", "A lab that is a program: it answers like a partner, by script."),
}


@dataclass(frozen=True)
class Sale:
    """What is put on sale: a supplier's model, at `unit_price` dollars per `unit`."""

    lab: str
    slug: str
    adapter: str
    target: str
    unit: str
    unit_price: str
    cost: str  # dollars per unit that the lab charges us, or per second of our own pool
    second: str = ""  # dollars per second of a realtime session, where there are any
    version: str = VERSION


SALES = (
    Sale(
        "kinora",
        "glyph",
        "house",
        "glyph",
        "gpu_second",
        "0.0001",
        "0.00004",
        "0.0001",
        version="2026-11-21",
    ),
    Sale("rehearsal", "still", "rehearsal", "still", "image", "0.002", "0.0012"),
    Sale("rehearsal", "clip", "rehearsal", "clip", "video_second", "0.01", "0.006"),
    Sale("rehearsal", "animate", "rehearsal", "animate", "video_second", "0.01", "0.006"),
    Sale("rehearsal", "blend", "rehearsal", "blend", "image", "0.002", "0.0012"),
    Sale("rehearsal", "tint", "rehearsal", "tint", "video_second", "0.01", "0.006"),
    Sale("kinora", "glyph-motion", "house", "glyph-motion", "video_second", "0.0005", "0.00004"),
    Sale("kinora", "glyph-upscale", "house", "glyph-upscale", "image", "0.0001", "0.00004"),
)


@dataclass(frozen=True)
class Login:
    """A seeded person, the team and the key."""

    email: str
    password: str
    team: Team
    key: str


def seed() -> tuple[Login, Login]:
    """Fill what is missing, in one transaction; gives the two people."""
    with transaction.atomic():
        for sale in SALES:
            retire_older(put_on_sale(sale))
        add_worker()
        return add_team("demo", name="Demo studio"), add_team("other", name="Other studio")


def put_on_sale(sale: Sale, version: str = "") -> Release:
    """The lab, the model, its release and the first version of its price."""
    described = registry.describe(sale.adapter, sale.target)
    name, about = LABS[sale.lab]
    lab, _ = Lab.objects.get_or_create(slug=sale.lab, defaults={"name": name, "about": about})
    words = {
        "name": described.title,
        "task": described.task,
        "summary": described.summary,
        "about": described.about,
    }
    model, _ = Model.objects.get_or_create(lab=lab, slug=sale.slug, defaults=words)
    release, made = Release.objects.get_or_create(
        model=model, version=version or sale.version, defaults=release_fields(sale, described)
    )
    if not release.tariffs.exists():
        counted = "gpu_second" if sale.adapter == "house" else sale.unit
        publish_tariff(release=release, lines=[{"unit": counted, "unit_price": sale.cost}])
    if made:
        Model.objects.filter(pk=model.pk).update(**words)
        add_price(release, sale)
        add_examples(release, described)
    if sale.second and not release.prices.filter(segment=SESSION).exists():
        lines = [{"unit": "session_second", "unit_price": sale.second}]
        publish(release=release, lines=lines, segment=SESSION)
    return release


def retire_older(release: Release) -> None:
    """End sales of what its supplier makes no more: our pool holds one set of weights per model."""
    if release.adapter == "house":
        older = Release.objects.live().filter(model=release.model, target=release.target)
        older.filter(version__lt=release.version).update(retired_at=timezone.now())


def release_fields(sale: Sale, described: Description) -> dict[str, object]:
    return {
        "input_schema": dict(described.inputs),
        "output_kind": described.output_kind,
        "content_type": described.content_type,
        "adapter": sale.adapter,
        "target": sale.target,
        "queue": described.queue,
        "timeout_seconds": described.timeout_seconds,
        "facts": dict(described.facts),
        "outcome_policy": standard([sale.unit]),
        "published_at": timezone.now(),
    }


def add_price(release: Release, sale: Sale) -> None:
    publish(release=release, lines=[{"unit": sale.unit, "unit_price": sale.unit_price}])


def add_examples(release: Release, described: Description) -> None:
    """Those inputs of which a picture ships with the pages."""
    folder = Path("examples") / release.model.slug
    for position, inputs in enumerate(described.examples):
        image = folder / f"{position}.png"
        if (settings.ROOT / "marketplace" / "static" / image).is_file():
            Example.objects.create(
                release=release, inputs=dict(inputs), image=str(image), position=position
            )


def add_worker() -> None:
    """The pool of this machine's processor and the one worker that `manage.py up` starts."""
    pool, _ = Pool.objects.get_or_create(slug=roster.POOL, defaults={"name": "Standard processors"})
    digest = hashlib.sha256(roster.worker_token().encode()).digest()
    Worker.objects.update_or_create(
        name=roster.WORKER_NAME, defaults={"pool": pool, "digest": digest}
    )


def add_team(slug: str, *, name: str) -> Login:
    """A person with a proved address, who owns a team with spendable credit and a key."""
    email = f"{slug}@kinora.local"
    password = kept_secret(secret_path(f"{slug}_password"))
    user = User.objects.filter(email=email).first()
    if user is None:
        user = User.objects.create_user(email, password)
        EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    member = Member.objects.filter(user=user).select_related("team").first()
    if member is None:
        member = Member.objects.create(user=user, team=Team.objects.create(name=name))
    add_credit(member.team, slug)
    return Login(email, password, member.team, add_key(member.team, user, slug))


def add_credit(team: Team, slug: str) -> None:
    """A promotional credit that expires; another one where little is left."""
    if balance(team.id).available >= LEAST:
        return
    number = Account.objects.filter(team=team).count() + 1
    grant_credit(
        team=team,
        amount=CREDIT,
        name="Demo credit",
        expires_at=timezone.now() + timedelta(days=CREDIT_DAYS),
        reference=f"seed:{slug}:{number}",
        note="For trying Kinora out on this machine",
    )


def add_key(team: Team, user: User, slug: str) -> str:
    """The text of the team's key, kept so that it can be printed again; new where it is revoked."""
    path = secret_path(f"{slug}_key")
    if path.exists():
        text = path.read_text().strip()
        if ApiKey.objects.filter(digest=keys.digest(text), team=team, revoked_at=None).exists():
            return text
    _, text = keys.create(team=team, name="Made by manage.py seed", created_by=user)
    write_private(path, text)
    return text


def write_down(demo: Login, other: Login) -> None:
    """Write DATA/demo.json, for scripts and tests."""
    found = {
        "url": settings.SITE_URL,
        "key": demo.key,
        "other_team_key": other.key,
        "logins": [
            {"email": login.email, "password": login.password, "team": login.team.public_id}
            for login in (demo, other)
        ],
    }
    write_private(settings.DATA / "demo.json", json.dumps(found, indent=2) + "\n")


def secret_path(name: str) -> Path:
    path: Path = settings.DATA / "secrets" / name
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads; readers see the old text or the new one."""
    new = path.with_name(f"{path.name}.new")
    handle = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    new.rename(path)
