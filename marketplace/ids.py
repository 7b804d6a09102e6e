"""Public ids: a prefix and a UUIDv7 in Crockford base 32, as in the TypeID format.

`run_01jd…` sorts by time of creation and says what it names. Inside, only the UUID is kept.
"""

import os
import time
import uuid
from collections import deque

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
LENGTH = 26  # 26 × 5 bits hold 128


drawn: deque[bytes] = deque()
os.register_at_fork(after_in_child=drawn.clear)


def entropy() -> bytes:
    """Ten random bytes of the system, which are asked for in blocks: a system call per id would
    cost more than all the rest of it. A fork draws its own."""
    while True:
        try:
            return drawn.popleft()
        except IndexError:
            block = os.urandom(10 * 256)
            drawn.extend(block[place : place + 10] for place in range(0, len(block), 10))


def uuid7() -> uuid.UUID:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(entropy(), "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def public(prefix: str, value: uuid.UUID) -> str:
    """`run` and a UUID → `run_01jd…`."""
    number, letters = value.int, []
    for _ in range(LENGTH):
        letters.append(ALPHABET[number & 31])
        number >>= 5
    return f"{prefix}_{''.join(reversed(letters))}"


def private(prefix: str, text: str) -> uuid.UUID | None:
    """The UUID in a public id, or None where `text` is not an id of this kind."""
    head, _, body = text.partition("_")
    if head != prefix or len(body) != LENGTH or not set(body) <= VALUES.keys():
        return None
    number = 0
    for letter in body:
        number = number << 5 | VALUES[letter]
    return uuid.UUID(int=number) if number < 1 << 128 else None
