"""Which network addresses are public, and which of the others are allowed."""

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Written out: what `ipaddress` calls private has changed between patch versions of Python.
_SPECIAL_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a carrier's customers
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; clouds serve credentials there
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, with Teredo's tunnels and ORCHID
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Say whether an address belongs to the public internet.

    An IPv6 address that carries an IPv4 one (mapped, NAT64, 6to4) is judged by that: it leads
    there.

    Source: the IANA registries of special-purpose addresses for IPv4 and IPv6 (RFC 6890).
    """
    if isinstance(address, IPv6Address):
        carried = _carried(address)
        if carried is None:
            special = any(address in network for network in _SPECIAL_V6)
            return address.scope_id is None and address in _GLOBAL_V6 and not special
        address = carried
    return not any(address in network for network in _SPECIAL_V4)


def _carried(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


class AddressRule:
    """Decides which addresses may be connected to.

    Args:
        allowed: Networks in CIDR notation that are allowed besides public addresses. An IPv4
            network says nothing about IPv6 addresses that carry one of its addresses.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in allowed)

    def allows(self, text: str) -> bool:
        """Say whether the numeric address `text` may be connected to."""
        address = ipaddress.ip_address(text)
        inside = any(address in n for n in self._allowed if n.version == address.version)
        return inside or is_public(address)
