"""Only public addresses are called, however others are written."""

import pytest

from marketplace.addresses import fault, is_public

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e",
          "::ffff:1.1.1.1", "64:ff9b::808:808", "100.63.255.255", "100.128.0.1"]  # fmt: skip
CLOSED = [
    "0.0.0.0",  # noqa: S104 - not bound to
    "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255",
    "127.0.0.1", "127.1.2.3", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255",
    "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:808:808::", "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1",
    "5f00::1", "100::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1", "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "0177.0.0.1", "0x7f.0.0.1",
    "2130706433", "127.1", "", "metadata.google.internal",
]  # fmt: skip
REFUSED = [
    "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "//example.com", "a.com",
    "https://", "https:///x", "https://user@example.com/", "https://a:b@example.com/",
    "https://example.com:22/", "https://example.com:80/", "https://example.com:99999/",
    "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://localhost/",
    "https://localhost./", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/",
    "https://127.1/", "https://0x7f.1/", "https://10.0.0.0x1/", "https://intranet/",
    "https://printer.local/", "https://metadata.google.internal/", "https://1.0.0.127.in-addr.arpa/",
    "https://exa mple.com/", "https://example.com\\@127.0.0.1/", "https://example.com/\r\nX: y",
    "https://ex\u00e4mple.com/", "https://\u2460\u2461\u2466.0.0.1/", "https://[fe80::1%25eth0]/",
    "https://-example.com/", "https://example.com/" + "x" * 2048, "https://[::1", "",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_called(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", CLOSED)
def test_no_other_address_is_called(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    ["https://example.com", "https://example.com:8443/hook?a=b", "https://hooks.example.co.uk./x",
     "https://1.1.1.1/", "https://[2606:4700:4700::1111]:443/x", "https://xn--exmple-cua.com/"],
)  # fmt: skip
def test_a_url_of_the_public_internet_has_no_fault(url: str) -> None:
    assert fault(url) is None


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_could_lead_elsewhere_is_refused_with_a_reason(url: str) -> None:
    assert fault(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x", "http://localhost:8000", "http://[::1]:1/"]
)
def test_this_machine_is_called_only_where_that_is_allowed(url: str) -> None:
    assert fault(url)
    assert fault(url, loopback=True) is None
    assert fault("http://10.0.0.1/", loopback=True)
    assert fault("http://127.0.0.2/", loopback=True)
