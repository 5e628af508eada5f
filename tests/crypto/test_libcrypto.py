from __future__ import annotations

import ctypes
import ctypes.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rxtls.crypto import libcrypto
from rxtls.crypto.libcrypto import CIPHERS, Libcrypto
from rxtls.errors import RxtlsError, UsageError

OPEN_ONE = """
import numpy as np
from rxtls.crypto import libcrypto
from rxtls.crypto.compiled.evp import open_all
from rxtls.crypto.compiled.key_table import KeyTable
from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.crypto.suites import SUITES, Version
keys = Keys(SUITES[0x1301], Version.TLS13, bytes(16), bytes(12))
record = np.frombuffer(Sealer(keys).seal(0, 23, b"hello"), np.uint8)
out = np.zeros(6, np.uint8)
table = KeyTable()
slot = table.add(keys)
values = (slot, 0, record.ctypes.data, len(record), out.ctypes.data)
good = open_all(table.rows, *(np.array([value]) for value in values))
"""


def python(code: str, named: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != libcrypto.ENVIRONMENT}
    if named is not None:
        environment[libcrypto.ENVIRONMENT] = named
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)


def here() -> Libcrypto:
    found = libcrypto.available()
    assert isinstance(found, Libcrypto)
    return found


class Without:
    """A shared library in which some symbols are missing."""

    def __init__(self, library: ctypes.CDLL, *missing: str) -> None:
        self._library, self._missing = library, missing

    def __getattr__(self, name: str) -> Any:
        if name in self._missing:
            raise AttributeError(name)
        return getattr(self._library, name)


def test_the_interpreters_own() -> None:
    found = here()
    assert found is libcrypto.available() is libcrypto.required()
    assert Path(found.path).is_file()
    assert "SSL" in found.version
    assert found.number >= 0x1010100F
    assert "library" not in repr(found)


def test_named_by_the_environment() -> None:
    done = python(OPEN_ONE + "print(libcrypto.available().path, good, bytes(out))", here().path)
    assert (done.stdout, done.stderr) == (f"{here().path} 1 b'hello\\x17'\n", "")


def test_named_by_an_argument() -> None:
    code = f"from rxtls.crypto import libcrypto\nlibcrypto.use({here().path!r})\n" + OPEN_ONE
    done = python(code + "libcrypto.use(libcrypto.available().path)\nprint(good)", "/not/this/one")
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize("named", ["/no/such/libcrypto.so", __file__])
def test_named_and_unusable(named: str) -> None:
    done = python("from rxtls.crypto import libcrypto\nlibcrypto.available()", named)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"rxtls.errors.UsageError: libcrypto {named}: ")
    assert last.count(named) == 1
    assert ("cannot open" in last) if named.startswith("/no/") else ("ELF" in last)


def test_a_library_that_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    other = ctypes.util.find_library("m")
    assert other is not None
    monkeypatch.setattr(libcrypto, "_chosen", None)
    monkeypatch.setattr(libcrypto, "_named", None)
    monkeypatch.setenv(libcrypto.ENVIRONMENT, other)
    with pytest.raises(UsageError, match=f"libcrypto {other}: it has no EVP_CIPHER_CTX_"):
        libcrypto.available()


def test_another_one_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    found = here()
    with pytest.raises(UsageError, match=r"libcrypto /other\.so: too late, .* is in use"):
        libcrypto.use("/other.so")
    monkeypatch.setenv(libcrypto.ENVIRONMENT, "/other.so")
    assert libcrypto.available() is found


def test_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcrypto, "_chosen", None)
    monkeypatch.setattr(libcrypto, "_named", None)
    monkeypatch.delenv(libcrypto.ENVIRONMENT, raising=False)
    monkeypatch.setattr(libcrypto, "_ssl_extension", lambda: None)
    monkeypatch.setattr(libcrypto, "_system_library", lambda: "/no/libcrypto.so")
    reason = libcrypto.available()
    assert isinstance(reason, str)
    assert reason.startswith("no libcrypto (_ssl: not found; the system's: cannot open")
    for call in (libcrypto.required, libcrypto.register):
        with pytest.raises(RxtlsError, match="no libcrypto"):
            call()


def test_ssl_linked_into_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    found = here()
    monkeypatch.setattr(libcrypto, "_chosen", None)
    monkeypatch.setattr(libcrypto, "_named", None)
    monkeypatch.delenv(libcrypto.ENVIRONMENT, raising=False)
    monkeypatch.setattr(libcrypto, "import_module", lambda _: SimpleNamespace())
    monkeypatch.setattr(libcrypto, "_system_library", lambda: found.path)
    assert libcrypto.available() == found


def test_looking_is_light() -> None:
    code = (
        "import sys\nfrom rxtls.crypto import libcrypto\nprint(libcrypto.available().version)\n"
        "print({'numba', 'llvmlite', 'numpy'} & set(sys.modules))"
    )
    done = python(code, here().path)
    assert (done.stdout, done.stderr) == (f"{here().version}\nset()\n", "")


def test_ciphers_fetched_or_not() -> None:
    # OpenSSL 1.1.1 has no EVP_CIPHER_fetch.
    found = here()
    older = replace(found, version="1.1.1", library=cast(ctypes.CDLL, Without(found.library, "EVP_CIPHER_fetch")))
    for name in CIPHERS:
        assert found.cipher(name) == found.cipher(name) != 0
        assert older.cipher(name) != 0


def test_ciphers_that_are_not_there() -> None:
    found = here()
    lacking = Without(found.library, "EVP_CIPHER_fetch", "EVP_chacha20_poly1305")
    older = replace(found, version="OpenSSL X", library=cast(ctypes.CDLL, lacking))
    with pytest.raises(RxtlsError, match=r"OpenSSL X \(.*\) has no ChaCha20-Poly1305"):
        older.cipher("ChaCha20-Poly1305")
    # Fetched by a name that no provider has, as ChaCha20-Poly1305 is where only FIPS ciphers are allowed.
    with pytest.raises(RxtlsError, match="has no ROT-13"):
        found.cipher("ROT-13")
