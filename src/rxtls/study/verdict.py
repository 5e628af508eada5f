"""The answer in a sentence: what the NIC did, what the host had to, and what it would have had to without.

The unit is bytes of AES (or ChaCha20) that the host had to do, which is what receive offload is to save. Software opens
every byte of every record once. With the NIC a decrypted record costs the host nothing, an encrypted one costs its
bytes, and a mixed one costs them and those that have to be re-encrypted before.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from rxtls.run.summary import totals

_UNSAID = 0.01  # share of the bytes, such as requests, that a sentence need not say it leaves out
_KEYED = ("decrypted", "mixed", "encrypted", "failed")


class Cost(NamedTuple):
    """Bytes on the wire of records under known keys, and what the host had to decrypt or encrypt of them."""

    total: int  # what software alone opens
    by_nic: int  # in records that the NIC decrypted in full
    host: int  # what the host did: opened, and re-encrypted


def cost(sums: Counter[str]) -> Cost:
    """Of the sums that run/summary.py's totals gives."""
    total = sum(sums[f"bytes.{name}"] for name in _KEYED)
    return Cost(total, sums["bytes.decrypted"], total - sums["bytes.decrypted"] + sums["bytes.recrypted"])


class Base(NamedTuple):
    """What a number is about: the sums (run/summary.py totals) over the directions of one half of `totals`, and those
    over the other half, which are left out."""

    seen: str  # "receiver" or "elsewhere"
    sums: Counter[str]
    rest: Counter[str]

    @property
    def octets(self) -> tuple[int, int]:
        """Bytes of records under known keys: of the base, and of all there is."""
        here = cost(self.sums).total
        return here, here + cost(self.rest).total

    def other(self) -> Base:
        """What this one leaves out."""
        return Base("receiver" if self.seen == "elsewhere" else "elsewhere", self.rest, self.sums)

    def as_json(self) -> dict[str, Any]:
        """For programs: `bytes` of `of_bytes` of records under known keys, in so many directions."""
        here, whole = self.octets
        return {"seen": self.seen, "directions": self.sums["directions"], "bytes": here, "of_bytes": whole}


def base(summary: dict[str, Any]) -> Base:
    """The one base of all that is added up, in every command: the directions seen at the receiver; if nothing came
    under known keys there, the others.

    A capture at the sender shows no loss, and would make any NIC look perfect.
    """
    at_receiver, elsewhere = totals(summary, True), totals(summary, False)
    if cost(at_receiver).total or not cost(elsewhere).total:
        return Base("receiver", at_receiver, elsewhere)
    return Base("elsewhere", elsewhere, at_receiver)


def rests_on(seen: str, directions: int, bytes: int, of_bytes: int) -> str:  # noqa: A002 - the keys of Base.as_json
    """What a base is, and on what share of the bytes an answer rests."""
    share = f"{size(bytes)} of {size(of_bytes)} in TLS records ({percent(bytes, of_bytes)})"
    if seen == "receiver":
        left = "" if bytes == of_bytes else "; the rest was seen elsewhere, where loss may not show, and is left out"
        return f"{many(directions, 'direction')} seen at the receiver, {share}{left}"
    return f"{many(directions, 'direction')} seen elsewhere than at the receiver, where loss may not show, {share}"


def answer(summary: dict[str, Any]) -> str:
    """Some sentences."""
    rests = base(summary)
    sums, (octets, of_octets) = rests.sums, rests.octets
    costs = cost(sums)
    if not costs.total:
        return "Nothing was decrypted: no record came under keys that are known."
    lost, flows = sums["resync.lost"], _flows_that_lost(summary, rests.seen)
    parts = [f"{percent(costs.by_nic, costs.total)} of {size(costs.total)} in TLS records were decrypted by the NIC"]
    if lost:
        parts.append(f"{many(flows, 'direction')} lost sync {many(lost, 'time')}")
    share = percent(costs.host, costs.total)
    parts.append(f"the host had {size(costs.host)} of crypto to do, {share} of what software alone would")
    where = ""
    if rests.seen != "receiver":
        where = " This was captured elsewhere than at the receiver, where loss may not show."
    elif of_octets - octets > of_octets * _UNSAID:
        where = (
            f" It rests on what was seen at the receiver, {percent(octets, of_octets)} of the bytes; the other "
            f"{size(of_octets - octets)} were captured elsewhere, where loss may not show."
        )
    return "; ".join(parts) + "." + where


def _flows_that_lost(summary: dict[str, Any], seen: str) -> int:
    return sum(
        received["resync"]["lost"] > 0
        for flow in summary["flows"]
        for received in flow["receive"].values()
        if received is not None and (received["vantage"] == "receiver") is (seen == "receiver")
    )


def percent(part: int, whole: int) -> str:
    """As text; what is not all, or not nothing, is never said to be."""
    if part in (0, whole):
        return "100 %" if part else "0 %"
    share = 100 * part / whole if whole else 0.0
    if share < 0.1:
        return "< 0.1 %"
    if 99.9 < share < 100:
        return "> 99.9 %"
    return f"{share:.1f} %" if share < 10 or share > 90 else f"{share:.0f} %"


def size(n: int) -> str:
    """Bytes for people, in powers of 1000."""
    value = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def many(n: int, what: str, more: str | None = None) -> str:
    """A number of things."""
    return f"{n:,} {what if n == 1 else more or what + 's'}"
