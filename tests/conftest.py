"""The cast that tests share, and a flush that respects what the ledger's guards refuse."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db.backends.postgresql.operations import DatabaseOperations
from django.test import override_settings
from django.utils import timezone

from marketplace import money
from marketplace.accounts import keys
from marketplace.accounts.models import ApiKey, Member, Team, User
from marketplace.ledger.transfer import grant_credit
from tests.running import Stack, running_stack

PASSWORD = "correct horse battery"
GUARDS = """DO $$ DECLARE guarded regclass; BEGIN
    FOR guarded IN SELECT DISTINCT tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal LOOP
        EXECUTE format('ALTER TABLE %s {} TRIGGER USER', guarded);
    END LOOP; END $$"""


@pytest.fixture(scope="session", autouse=True)
def flush_lifts_the_guards() -> Iterator[None]:
    """Tests that commit empty the tables afterwards, which append-only tables refuse."""
    plain = DatabaseOperations.sql_flush

    def sql_flush(self: DatabaseOperations, *args: Any, **options: Any) -> list[str]:
        statements = plain(self, *args, **options)
        return [GUARDS.format("DISABLE"), *statements, GUARDS.format("ENABLE")]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", sql_flush)
        yield


@pytest.fixture(scope="session", autouse=True)
def passwords_hash_fast() -> Iterator[None]:
    """A million rounds per person would be most of a test's time."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@dataclass(frozen=True)
class Person:
    """Someone with a team and a key. `bearer` are the headers of a call."""

    user: User
    team: Team
    key: ApiKey
    text: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}"}


def join(name: str, *, team: Team, role: str, scopes: tuple[str, ...] = keys.SCOPES) -> Person:
    user = User.objects.create_user(f"{name}@example.test", PASSWORD)
    Member.objects.create(team=team, user=user, role=role)
    key, text = keys.create(team=team, name=name, created_by=user, scopes=scopes)
    return Person(user, team, key, text)


def fund(team: Team, dollars: str, *, reference: str) -> None:
    grant_credit(
        team=team,
        amount=money.parse(dollars),
        name="Test credit",
        expires_at=timezone.now() + timedelta(days=30),
        reference=reference,
        note="tests",
    )


@pytest.fixture
def ada(db: None) -> Person:
    """A developer; owns a team with $5 of credit."""
    person = join("ada", team=Team.objects.create(name="Ada's studio"), role="owner")
    fund(person.team, "5", reference="tests:ada")
    return person


@pytest.fixture
def ben(ada: Person) -> Person:
    """In Ada's team, with a key that only reads."""
    return join("ben", team=ada.team, role="viewer", scopes=("read",))


@pytest.fixture
def cy(db: None) -> Person:
    """An outsider with a funded team of his own."""
    person = join("cy", team=Team.objects.create(name="Cy alone"), role="owner")
    fund(person.team, "5", reference="tests:cy")
    return person


@pytest.fixture
def rook(db: None) -> User:
    """An admin of Kinora."""
    return User.objects.create_superuser("rook@example.test", PASSWORD)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A complete `manage.py up` of its own, shared by all tests that ask for it.

    It may tell receivers on this machine, which is off elsewhere.
    """
    with running_stack(KINORA_ALLOW_LOOPBACK_WEBHOOKS="1") as running:
        yield running
