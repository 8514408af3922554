"""Which addresses are public."""

import ipaddress

import pytest

from curation.download.addresses import AddressRule, is_public

PUBLIC = """
1.1.1.1 8.8.8.8 93.184.215.14 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.0.1.0
192.167.255.255 198.17.255.255 198.20.0.0 223.255.255.255
2606:4700::1111 2a00:1450:4001:80b::200e 2001:4860:4860::8888
::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1
""".split()
SPECIAL = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1
172.31.255.255 192.0.0.170 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.7 203.0.113.9
224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 fec0::1 ff02::1 100::1 2001:db8::1 2001::1 3fff::1
5f00::1 64:ff9b:1::1 ::127.0.0.1 ::8.8.8.8
::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 2002:a00:1::1
2002:7f00:1::1 2001:4860::1%eth0
""".split()


@pytest.mark.parametrize("text", PUBLIC)
def test_public(text):
    """The open internet, and IPv6 addresses that lead to it."""
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", SPECIAL)
def test_special(text):
    """All that leads elsewhere: to ourselves, to our network, to a group, to nobody."""
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_python_agrees_on_what_is_public(text):
    """No address that we call public is private for the standard library, its carried one aside."""
    address = ipaddress.ip_address(text)

    carried = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)

    assert (carried or address).is_global
    assert not address.is_multicast


def test_networks_can_be_allowed():
    """Those and no others, in their own version of the protocol."""
    rule = AddressRule(("10.1.0.0/16", "fd00::/8"))

    assert [rule.allows(text) for text in ("10.1.2.3", "fd00::1", "8.8.8.8")] == [True] * 3
    assert [rule.allows(text) for text in ("10.2.0.1", "fe80::1", "::ffff:10.1.2.3")] == [False] * 3
