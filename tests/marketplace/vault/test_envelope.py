"""What is locked opens with its key, under its name, unchanged; all else is refused clearly."""

import logging
import secrets
import traceback
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.vault.envelope import (
    Envelope,
    MasterKey,
    Name,
    NoKey,
    PublicKey,
    Tampered,
    VaultError,
    rewrap,
    seal,
    unseal,
)

KLING = Name("kling", "api_key", 1)
PLANTED = "planted-access:planted-secret"


@pytest.fixture
def key() -> MasterKey:
    return MasterKey(secrets.token_urlsafe(32))


@given(st.text(min_size=1, max_size=200))
def test_what_is_locked_can_be_opened(text: str) -> None:
    key = MasterKey(secrets.token_urlsafe(32))
    assert unseal(seal(text, KLING, key.public), KLING, [key]) == text


def test_every_secret_has_a_data_key_and_a_nonce_of_its_own(key: MasterKey) -> None:
    one, other = (seal(PLANTED, KLING, key.public) for _ in range(2))
    assert one.sealed != other.sealed
    assert one.wrapped != other.wrapped
    assert PLANTED.encode() not in one.sealed + one.wrapped


@pytest.mark.parametrize(
    "name",
    [Name("luma", "api_key", 1), Name("kling", "webhook_secret", 1), Name("kling", "api_key", 2)],
)
def test_a_ciphertext_put_in_anothers_place_is_refused(key: MasterKey, name: Name) -> None:
    with pytest.raises(Tampered, match=str(name)):
        unseal(seal(PLANTED, KLING, key.public), name, [key])


def test_halves_of_two_envelopes_do_not_make_one(key: MasterKey) -> None:
    one, other = (seal(text, KLING, key.public) for text in (PLANTED, "other"))
    with pytest.raises(Tampered):
        unseal(replace(one, wrapped=other.wrapped), KLING, [key])


@pytest.mark.parametrize("part", ["sealed", "wrapped"])
def test_every_changed_byte_is_noticed(key: MasterKey, part: str) -> None:
    whole = seal(PLANTED, KLING, key.public)
    content = getattr(whole, part)
    for place in range(len(content)):
        if part == "wrapped" and place == 31:
            continue  # X25519 ignores the highest bit of its 32nd byte, which is tried below
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        with pytest.raises(Tampered):
            unseal(replace(whole, **{part: changed}), KLING, [key])
    with pytest.raises(Tampered):
        unseal(replace(whole, **{part: content[:31]}), KLING, [key])


def test_another_master_key_says_which_one_is_missing(key: MasterKey) -> None:
    other = MasterKey(secrets.token_urlsafe(32))
    with pytest.raises(NoKey, match=key.public.fingerprint):
        unseal(seal(PLANTED, KLING, key.public), KLING, [other])
    forged = replace(seal(PLANTED, KLING, key.public), master=other.public.fingerprint)
    with pytest.raises(Tampered):
        unseal(forged, KLING, [other])


def test_two_master_keys_open_while_one_is_turned(key: MasterKey) -> None:
    new = MasterKey(secrets.token_urlsafe(32))
    found = seal(PLANTED, KLING, key.public)
    assert unseal(found, KLING, [new, key]) == PLANTED
    turned = rewrap(found, KLING, [new, key], new.public)
    assert unseal(turned, KLING, [new]) == PLANTED
    assert turned.sealed == found.sealed
    with pytest.raises(NoKey):
        unseal(turned, KLING, [key])


@pytest.mark.parametrize("text", ["", "short", "§" * 43, "a" * 42, "a" * 86])
def test_a_key_that_is_none_is_refused(text: str) -> None:
    for make in (MasterKey, PublicKey.read):
        with pytest.raises(VaultError, match="43 characters"):
            make(text)


def test_the_public_half_locks_and_is_read_from_its_text(key: MasterKey) -> None:
    half = PublicKey.read(key.public.text())
    assert half.fingerprint == key.public.fingerprint
    assert unseal(seal(PLANTED, KLING, half), KLING, [key]) == PLANTED


def test_nothing_that_is_raised_or_printed_tells_a_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = secrets.token_urlsafe(32)
    key = MasterKey(text)
    found = seal(PLANTED, KLING, key.public)
    said = [repr(key), repr(found), repr(KLING), str(vars(key.public))]
    with caplog.at_level(logging.DEBUG):
        for wrong in (Name("luma", "api_key", 1), Name("kling", "api_key", 9)):
            try:
                unseal(found, wrong, [key])
            except Tampered:
                said.append(traceback.format_exc())
                logging.getLogger("tests").exception("it was refused")
    told = " ".join(said) + caplog.text
    assert "planted" not in told
    assert text not in told


def test_an_empty_envelope_is_refused(key: MasterKey) -> None:
    with pytest.raises(Tampered):
        unseal(Envelope(b"", b"", key.public.fingerprint), KLING, [key])
