"""The kernel's knobs, by their sysctl names, and what the kernel counts that no record or packet could tell.

Upstream's defaults are off (kern.ipc.tls.enable) and 0 (kern.ipc.tls.ifnet.permitted), so that who forgets them tries
software, or nothing at all, without being told. Ours are on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields, replace

from rxtls.crypto.ocf import Ocf
from rxtls.errors import UsageError


@dataclass(frozen=True, slots=True)
class Sysctl:
    """kern.ipc.tls.*, as far as receiving goes."""

    enable: bool = field(default=True, metadata={"name": "kern.ipc.tls.enable"})
    rx_enable: bool = field(default=True, metadata={"name": "kern.ipc.tls.rx_enable"})
    cbc_enable: bool = field(default=True, metadata={"name": "kern.ipc.tls.cbc_enable"})
    ifnet_permitted: bool = field(default=True, metadata={"name": "kern.ipc.tls.ifnet.permitted"})


NAMES: dict[str, str] = {each.metadata["name"]: each.name for each in fields(Sysctl)}


def sysctl(settings: dict[str, str]) -> Sysctl:
    """The knobs with `settings` (sysctl name -> "0" or "1") applied. UsageError names what does not exist or fit."""
    knobs = Sysctl()
    for name, text in settings.items():
        if name not in NAMES:
            raise UsageError(f"no sysctl {name!r}; there are {', '.join(NAMES)}")
        if text not in ("0", "1"):
            raise UsageError(f"{name} is 0 or 1, not {text!r}")
        knobs = replace(knobs, **{NAMES[name]: text == "1"})
    return knobs


@dataclass(slots=True)
class Kernel:
    """One host: its knobs, and kern.ipc.tls.stats as far as only the socket layer sees it."""

    sysctl: Sysctl = field(default_factory=Sysctl)
    stats: Counter[str] = field(default_factory=Counter)
    ocf: Ocf = field(default_factory=Ocf)  # who does the cryptography of sockets
