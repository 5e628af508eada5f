"""`--filter`: a tcpdump-like expression read into a tree, and the tree compiled to a predicate over Packet.

The grammar is GRAMMAR below, which docs/replay.md prints. The words and what they mean are those of pcap-filter(7),
so that what selects packets in tcpdump selects the same ones here, with these differences:

- Only TCP gets this far: `tcp` is always true, and words for other protocols, for link-layer addresses or for bytes in
  headers are errors. Names of hosts and services are not looked up.
- In tunnels the innermost packet is what everything is about.
- All primitives match inside VLANs, and `vlan N` looks at every VLAN id of a packet; in tcpdump `vlan` moves the
  place at which all that follows is looked for.

As in tcpdump, `and` and `or` have the same precedence and group from the left: `port 1 or port 2 and host h` is
`(port 1 or port 2) and host h`. That makes an expression of one level a plain fold, which is how it is compiled: the
predicate's call depth is the depth of parentheses and nots, which is bounded, and not the number of terms.
wire/compiled/filter.py compiles the same tree for packets in columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple, NoReturn

from ..errors import UsageError
from .frame import Packet

Predicate = Callable[[Packet], bool]

MAX_TEXT = 65_536  # characters: a list of a few thousand hosts; the predicate is walked for each packet
MAX_DEPTH = 50  # of parentheses and nots: far from Python's own limit, and from what a person writes

GRAMMAR = """\
expression = term { ("and" | "&&" | "or" | "||") term }    same precedence, grouped from the left, as in tcpdump
term       = ("not" | "!") term | "(" expression ")" | primitive
primitive  = ["ip" | "ip6" | "tcp"] [direction] match      ip, ip6: only IPv4, only IPv6
           | "ip" | "ip6" | "tcp"                          IPv4, IPv6; every packet is TCP
           | "vlan" [ID]                                   in any VLAN; ID (0..4095) is among the packet's VLAN ids
           | value                                         as after the words before the last value: port 80 or 443
direction  = "src" | "dst" | "src or dst" | "src and dst"  none: src or dst
match      = ["host"] ADDRESS                              IPv4 or IPv6
           | ["net"] ADDRESS/BITS                          the address has no bits set beyond BITS
           | "port" N                                      0..65535
           | "portrange" N-M                               both included
value      = ADDRESS | ADDRESS/BITS | N | N-M

Everything matches inside VLANs. Names of hosts and services are not looked up.
Examples: port 443
          src net 10.0.0.0/8 and dst port 443 or 8443
          vlan 100 and not (host 2001:db8::1 or ip)
"""

_TOKEN = re.compile(r"\s*(&&|\|\||[()!]|[^\s()!&|]+|.)", re.DOTALL)
_AND = frozenset({"and", "&&"})
_OR = frozenset({"or", "||"})
_NOT = frozenset({"not", "!"})
_VERSIONS = {"ip": 4, "ip6": 6, "tcp": 0}  # 0: either
_DIRECTIONS = frozenset({"src", "dst"})
_KINDS = frozenset({"host", "net", "port", "portrange"})
_KEYWORDS = _AND | _OR | _NOT | _VERSIONS.keys() | _DIRECTIONS | _KINDS | {"vlan", "(", ")", ""}

_HINTS = {
    **dict.fromkeys(
        ("udp", "icmp", "icmp6", "sctp", "arp", "rarp", "igmp"), "only TCP packets get as far as the filter"
    ),
    **dict.fromkeys(("ether", "link", "wlan"), "link-layer addresses are not kept"),
    **dict.fromkeys(
        ("mpls", "pppoed", "pppoes", "geneve", "vxlan"), "in a tunnel only the innermost packet is looked at"
    ),
    **dict.fromkeys(
        ("less", "greater", "len", "proto", "gateway", "broadcast", "multicast"), "not among the words here"
    ),
    **dict.fromkeys(("inbound", "outbound", "ifname", "on"), "interfaces are not part of the filter"),
    **dict.fromkeys(("&", "|"), "write && or ||, or the words and, or"),
    **dict.fromkeys(("=", "==", "<", ">", "!=", "<=", ">="), "there are no comparisons"),
}


class Joined(NamedTuple):
    """Terms of one level: each of `rest` matters only where the value so far is its flag, which stands for `and`."""

    first: Tree
    rest: tuple[tuple[bool, Tree], ...]


class Not(NamedTuple):
    """What its term is not."""

    term: Tree


class Vlan(NamedTuple):
    """In the VLAN `id`; in any, where it is None."""

    id: int | None


class Version(NamedTuple):
    """IP of this version, 4 or 6; 0: either."""

    version: int


class Ports(NamedTuple):
    """A port from low to high, both included. `direction`: "src", "dst", "or", "and"; `version` as above."""

    direction: str
    low: int
    high: int
    version: int


class Within(NamedTuple):
    """An address in the network."""

    direction: str
    network: IPv4Network | IPv6Network


Tree = Joined | Not | Vlan | Version | Ports | Within


class Filter:
    """The predicate of an expression; `tree` is the expression."""

    __slots__ = ("_test", "tree")

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._test = _predicate(tree)

    def __call__(self, packet: Packet) -> bool:
        return self._test(packet)


def compile_filter(text: str) -> Filter:
    """The predicate for `text` (see GRAMMAR). UsageError names the column, counted from 1, and a way out."""
    if len(text) > MAX_TEXT:
        raise UsageError(f"filter: {len(text)} characters, more than {MAX_TEXT}")
    reader = _Reader(text)
    if reader.word == "":
        reader.fail("nothing to match", "for example: port 443")
    tree = _expression(reader, 0)
    if reader.word == ")":
        reader.fail("no parenthesis is open here")
    if reader.word != "":
        reader.fail("expected and, or, or the end", "join terms with and")
    return Filter(tree)


class _Qualifiers(NamedTuple):
    """The words before a value."""

    version: int = 0  # 4, 6, or 0 for either
    direction: str = "or"  # "src", "dst", "or", "and"
    kind: str = ""  # one of _KINDS, or "" where the value is to tell


class _Reader:
    """The words of the text one after the other; `word` is "" at the end."""

    def __init__(self, text: str) -> None:
        self._words = [(found[1], found.start(1) + 1) for found in _TOKEN.finditer(text.rstrip())]
        self._words.append(("", len(text.rstrip()) + 1))
        self._next = 0
        self.last = _Qualifiers()

    @property
    def word(self) -> str:
        return self._words[self._next][0]

    def ahead(self, n: int) -> str:
        """The word n after this one."""
        return self._words[min(self._next + n, len(self._words) - 1)][0]

    def take(self) -> str:
        word = self.word
        if word:
            self._next += 1
        return word

    def fail(self, problem: str, hint: str = "") -> NoReturn:
        word, column = self._words[self._next]
        if "[" in word:
            hint = "bytes of headers cannot be compared"
        elif word not in _KEYWORDS and word.lower() in _KEYWORDS:
            hint = "words are in lower case"
        hint = _HINTS.get(word.lower(), hint)
        # The text may be anything: what is echoed of it is short, and on one line.
        place = f" at {word[:40]!r}" if word else " at the end"
        raise UsageError(f"filter: column {column}: {problem}{place}" + (f" ({hint})" if hint else ""))


def _expression(reader: _Reader, depth: int) -> Tree:
    first = _term(reader, depth)
    rest: list[tuple[bool, Tree]] = []
    while reader.word in _AND or reader.word in _OR:
        joined_by_and = reader.take() in _AND
        rest.append((joined_by_and, _term(reader, depth)))
    return Joined(first, tuple(rest)) if rest else first


def _term(reader: _Reader, depth: int) -> Tree:
    if depth > MAX_DEPTH:
        reader.fail(f"more than {MAX_DEPTH} parentheses and nots inside each other")
    if reader.word in _NOT:
        reader.take()
        return Not(_term(reader, depth + 1))
    if reader.word == "(":
        reader.take()
        inner = _expression(reader, depth + 1)
        if reader.word != ")":
            reader.fail("expected ) or and, or")
        reader.take()
        return inner
    if reader.word == "vlan":
        reader.take()
        return Vlan(None if reader.word in _KEYWORDS else _number(reader, 0x0FFF, "VLAN id"))
    return _primitive(reader)


def _primitive(reader: _Reader) -> Tree:
    if reader.word not in _KEYWORDS:
        # "If an identifier is given without a keyword, the most recent keyword is assumed" (pcap-filter(7)).
        return _match(reader, reader.last)
    protocol = reader.take() if reader.word in _VERSIONS else ""
    version = _VERSIONS.get(protocol, 0)
    if protocol and reader.word in _KEYWORDS - _DIRECTIONS - _KINDS:
        return Version(version)
    direction = "or"
    if reader.word in _DIRECTIONS:
        direction = reader.take()
        if reader.word in ("and", "or") and {direction, reader.ahead(1)} == _DIRECTIONS:
            direction = reader.take()
            reader.take()
    kind = reader.take() if reader.word in _KINDS else ""
    reader.last = _Qualifiers(version, direction, kind)
    return _match(reader, reader.last)


def _match(reader: _Reader, qualifiers: _Qualifiers) -> Tree:
    version, direction, kind = qualifiers
    word = reader.word
    made: Tree
    if kind in ("port", "portrange"):
        made = Ports(direction, *_ports(reader, kind), version)
    else:
        network = _network(reader, kind)
        if version and version != network.version:
            reader.fail(f"not an IPv{version} address")
        made = Within(direction, network)
    if word:
        reader.take()
    return made


def _ports(reader: _Reader, kind: str) -> tuple[int, int]:
    if kind == "port":
        port = _parse_number(reader.word, 0xFFFF)
        if port is None:
            reader.fail("expected a port number (0..65535)", "names of services are not looked up")
        return port, port
    first, dash, last = reader.word.partition("-")
    low, high = _parse_number(first, 0xFFFF), _parse_number(last, 0xFFFF)
    if not dash or low is None or high is None:
        reader.fail("expected a range of ports", "for example: portrange 8000-8010")
    return (low, high) if low <= high else (high, low)  # either order, as in pcap-filter(7)


def _network(reader: _Reader, kind: str) -> IPv4Network | IPv6Network:
    """The network, or the host as a network of one."""
    word = reader.word
    address, slash, bits = word.partition("/")
    if word in _KEYWORDS:
        reader.fail("expected an address, or a word such as host, net or port")
    if "%" in word:
        reader.fail("an address with a zone", "packets carry no zones: leave % and the rest away")
    try:
        host = ip_address(address)
    except ValueError:
        number = kind == "" and _parse_number(word, 0xFFFF) is not None
        reader.fail("expected an address", f"write: port {word}" if number else "names of hosts are not looked up")
    if slash and kind == "host":
        reader.fail("a host is one address", "write net in place of host")
    if not slash and kind == "net":
        reader.fail("expected ADDRESS/BITS", f"for example: {address}/24; or write host in place of net")
    if slash and _parse_number(bits, 128) is None:
        reader.fail("expected ADDRESS/BITS", "masks are written as a number of bits")
    try:
        network = ip_network(word, strict=False)
    except ValueError:
        reader.fail("more bits than the address has")
    if network.network_address != host:
        reader.fail(f"bits of the address are set beyond /{bits}", f"write: {network}")
    return network


def _number(reader: _Reader, most: int, what: str) -> int:
    number = _parse_number(reader.word, most)
    if number is None:
        reader.fail(f"expected a {what} (0..{most})")
    reader.take()
    return number


def _parse_number(word: str, most: int) -> int | None:
    number = int(word) if re.fullmatch("[0-9]{1,5}", word) else None
    return None if number is None or number > most else number


def _predicate(tree: Tree) -> Predicate:
    match tree:
        case Joined(first, rest):
            return _fold(_predicate(first), [(joined_by_and, _predicate(term)) for joined_by_and, term in rest])
        case Not(term):
            inner = _predicate(term)
            return lambda packet: not inner(packet)
        case Vlan(None):
            return lambda packet: packet.vlan != ()
        case Vlan(vlan):
            return lambda packet: vlan in packet.vlan
        case Version(version):
            return _of_version(version)
        case Ports(direction, low, high, version):
            test = _directed(direction, *_port_tests(low, high))
            if not version:
                return test
            of_version = _of_version(version)
            return lambda packet: of_version(packet) and test(packet)
        case Within(direction, network):
            return _directed(direction, *_address_tests(network))


def _fold(first: Predicate, rest: list[tuple[bool, Predicate]]) -> Predicate:
    def fold(packet: Packet) -> bool:
        value = first(packet)
        for joined_by_and, predicate in rest:
            if value is joined_by_and:  # else the value stands: true or ..., false and ...
                value = predicate(packet)
        return value

    return fold


def _port_tests(low: int, high: int) -> tuple[Predicate, Predicate]:
    return (lambda packet: low <= packet.sport <= high), (lambda packet: low <= packet.dport <= high)


def _address_tests(network: IPv4Network | IPv6Network) -> tuple[Predicate, Predicate]:
    size = network.max_prefixlen // 8
    beyond = network.max_prefixlen - network.prefixlen
    prefix = int(network.network_address) >> beyond

    def src(packet: Packet) -> bool:
        return len(packet.src) == size and int.from_bytes(packet.src, "big") >> beyond == prefix

    def dst(packet: Packet) -> bool:
        return len(packet.dst) == size and int.from_bytes(packet.dst, "big") >> beyond == prefix

    return src, dst


def _directed(direction: str, src: Predicate, dst: Predicate) -> Predicate:
    if direction == "or":
        return lambda packet: src(packet) or dst(packet)
    if direction == "and":
        return lambda packet: src(packet) and dst(packet)
    return src if direction == "src" else dst


def _of_version(version: int) -> Predicate:
    if not version:
        return lambda _packet: True
    size = 4 if version == 4 else 16
    return lambda packet: len(packet.src) == size
