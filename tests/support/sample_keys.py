"""Keys for tests: every shape that records can have, with made-up secrets."""

from __future__ import annotations

import hashlib

from hypothesis import strategies as st

from rxtls.crypto.keys import Keys, iv_length
from rxtls.crypto.suites import SUITES, Family, Suite, Version


def made_up(n: int, label: str) -> bytes:
    """`n` bytes that look random and are always the same."""
    return hashlib.shake_128(label.encode()).digest(n)


def sample_keys(suite: Suite, version: Version, encrypt_then_mac: bool = False, label: str = "") -> Keys:
    """Keys of the right lengths, the same on every call with the same arguments."""
    return Keys(
        suite,
        version,
        made_up(suite.key_length, label + "key"),
        made_up(iv_length(suite, version), label + "iv"),
        made_up(suite.mac_length, label + "mac"),
        encrypt_then_mac,
    )


def _shapes() -> list[Keys]:
    seen: dict[tuple[object, ...], Keys] = {}
    for suite in SUITES.values():
        for version in suite.versions:
            for etm in (False, True) if suite.family is Family.AES_CBC else (False,):
                shape = (version, suite.family, suite.key_length, suite.mac, etm)
                seen.setdefault(shape, sample_keys(suite, version, etm))
    return list(seen.values())


# One Keys for each combination of version, cipher, key size, MAC and MAC order that the table of suites has.
ALL_SHAPES: list[Keys] = _shapes()
STREAMED: list[Keys] = [keys for keys in ALL_SHAPES if keys.stream]


def shape_name(keys: Keys) -> str:
    """An id for pytest: version, cipher, MAC order."""
    name = keys.suite.name.removeprefix("TLS_").partition("_WITH_")
    return f"{keys.version.name}-{name[2] or name[0]}{'-etm' if keys.encrypt_then_mac else ''}"


def payloads(max_length: int = 16384) -> st.SearchStrategy[bytes]:
    """Payloads whose lengths crowd around the block sizes and the limits."""
    edges = [0, 1, 15, 16, 17, 63, 64, 65, 255, 256, 1000, 16368, 16383, 16384]
    lengths = st.one_of(st.sampled_from([n for n in edges if n <= max_length]), st.integers(0, max_length))
    return lengths.map(lambda n: made_up(n, f"payload{n}"))


NUMBERS = st.one_of(st.sampled_from([0, 1, 255, 2**32 - 1, 2**32, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))
