"""Which addresses of the internet we may call for a stranger: public ones, by https, and no other.

The rules alone, pure: `fault` is asked about a URL when it is accepted, `is_public` about each
address that its name resolves to when it is called. Who calls must connect to the very address
that was asked about, since a name may resolve differently a moment later.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address

LONGEST = 2048
PORTS = frozenset({443, 8443})
# `ipaddress` calls some of these global: shared space, multicast, relays, addresses in addresses.
CLOSED_V4 = [
    IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # public by number, but a cloud's own service to those inside it
    )
]
OPEN_V6 = IPv6Network("2000::/3")
CLOSED_V6 = [
    IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
]
NAT64 = IPv6Network("64:ff9b::/96")
ISATAP = 0x5EFE
NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)
NAME = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,62}")
LOCAL_NAMES = ("localhost", "local", "internal", "lan", "home", "corp", "intranet", "arpa", "onion")


def is_public(address: str | Address) -> bool:
    """Whether `address` is one of the public internet, also where it wraps another."""
    try:
        found = ip_address(address) if isinstance(address, str) else address
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return not any(found in closed for closed in CLOSED_V4)
    if found.scope_id is not None:
        return False
    if inner := wrapped(found):
        return is_public(inner)
    return found in OPEN_V6 and not any(found in closed for closed in CLOSED_V6)


def wrapped(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to `address` end at, where it is such a wrapper."""
    if address.ipv4_mapped:
        return address.ipv4_mapped
    last = IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in NAT64:
        return last
    # ISATAP: 0000:5efe or 0200:5efe before the last four bytes.
    if (int(address) >> 32 & 0xFDFF_FFFF) == ISATAP:
        return last
    return None


def is_loopback(host: str) -> bool:
    """Whether `host` names this machine in so many words: 127.0.0.1, ::1, localhost."""
    return host in ("127.0.0.1", "::1", "localhost")


def fault(url: str, *, loopback: bool = False) -> str | None:
    """What is wrong with calling `url`, as the end of a sentence; None where nothing is.

    loopback: also this machine, on any port and without TLS, as tests want it. A name may still
    resolve to an address that is not public: `is_public` is asked when it is called.
    """
    if len(url) > LONGEST:
        return f"must have at most {LONGEST} characters"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL"
    if not url.isascii() or re.search(r"[\x00-\x20\x7f\\]", url):
        return "must be plain ASCII without spaces; write other characters percent-encoded"
    host = (parts.hostname or "").removesuffix(".")
    if loopback and parts.scheme in ("http", "https") and is_loopback(host):
        return None
    return wrong_parts(parts, port) or wrong_host(host)


def wrong_parts(parts: SplitResult, port: int | None) -> str | None:
    if parts.scheme != "https":
        return "must begin with https://"
    if "@" in parts.netloc:
        return "must not carry a user name or password"
    if port not in (None, *PORTS):
        return f"must be on port {' or '.join(map(str, sorted(PORTS)))}"
    return None


def wrong_host(host: str) -> str | None:
    """Names must have a dot and no ending that is only known inside a network."""
    if ":" in host or host.replace(".", "").isdigit():
        return None if is_public(host) else "must lead to a public address"
    if NUMBER.fullmatch(host.rpartition(".")[2]):
        return "must not write an address in another way than 203.0.113.7"
    if not NAME.fullmatch(host):
        return "must name a host, such as example.com"
    if host.rpartition(".")[2] in LOCAL_NAMES:
        return "must lead to a public address"
    return None
