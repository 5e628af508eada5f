"""Where libcrypto is: the OpenSSL whose EVP functions compiled code calls.

Three places are tried: a path that somebody named (`use`, or RXTLS_LIBCRYPTO), the interpreter's own `_ssl` extension,
through which its libcrypto's symbols are found wherever it lies, and the system's loader. The `cryptography` package is
no help: its OpenSSL is linked in and shows no EVP symbols. OpenSSL 1.1.1 will do; a newer one is often much faster.

This module is light: it loads a shared library, and what kernels need only in `register`.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module

from rxtls.errors import RxtlsError, UsageError

ENVIRONMENT = "RXTLS_LIBCRYPTO"

# What kernels call, by address. Types as kernels see them are in compiled/evp.py.
CALLED_BY_KERNELS = (
    "EVP_CIPHER_CTX_ctrl",
    "EVP_DecryptFinal_ex",
    "EVP_DecryptInit_ex",
    "EVP_DecryptUpdate",
    "EVP_EncryptInit_ex",
    "EVP_EncryptUpdate",
)

_P, _I = ctypes.c_void_p, ctypes.c_int

# What Python calls: name, result, arguments.
_CALLED_BY_PYTHON: tuple[tuple[str, type | None, tuple[type, ...]], ...] = (
    ("OpenSSL_version", ctypes.c_char_p, (_I,)),
    ("OpenSSL_version_num", ctypes.c_ulong, ()),
    ("EVP_CIPHER_CTX_new", _P, ()),
    ("EVP_CIPHER_CTX_free", None, (_P,)),
    ("EVP_DecryptInit_ex", _I, (_P, _P, _P, ctypes.c_char_p, ctypes.c_char_p)),
    ("EVP_EncryptInit_ex", _I, (_P, _P, _P, ctypes.c_char_p, ctypes.c_char_p)),
)

# EVP_CIPHER_fetch's names (OpenSSL 3.0), and the functions that give the same cipher before.
CIPHERS = {
    "AES-128-GCM": "EVP_aes_128_gcm",
    "AES-256-GCM": "EVP_aes_256_gcm",
    "ChaCha20-Poly1305": "EVP_chacha20_poly1305",
    "AES-128-CTR": "EVP_aes_128_ctr",
    "AES-256-CTR": "EVP_aes_256_ctr",
    "ChaCha20": "EVP_chacha20",
}


@dataclass(frozen=True)
class Libcrypto:
    """A libcrypto that has all that is needed.

    `path` is the shared library's file as the loader knows it, `version` its own words ("OpenSSL 3.0.19 27 Jan 2026"),
    `number` its OPENSSL_VERSION_NUMBER (0x30000130 is 3.0.19).
    """

    path: str
    version: str
    number: int
    library: ctypes.CDLL = field(repr=False, compare=False)

    def cipher(self, name: str) -> int:
        """The address of the EVP_CIPHER of that name in CIPHERS. RxtlsError where this libcrypto does not give it."""
        return _cipher(self, name)


def use(path: str) -> None:
    """Name the libcrypto to use, instead of RXTLS_LIBCRYPTO. Before the first use: compiled code has addresses of one
    libcrypto in it, so later this raises UsageError, unless the same path was named before."""
    global _named
    if isinstance(_chosen, Libcrypto) and path != _named:
        raise UsageError(f"libcrypto {path}: too late, {_chosen.path} is in use")
    _named = path


def available() -> Libcrypto | str:
    """The libcrypto to use, or why there is none. UsageError when one was named and cannot be used."""
    global _chosen, _named
    if not isinstance(_chosen, Libcrypto):
        _named = _named or os.environ.get(ENVIRONMENT) or None
        _chosen = _search(_named)
    return _chosen


def required() -> Libcrypto:
    """The libcrypto to use. RxtlsError when there is none, UsageError as `available`."""
    found = available()
    if isinstance(found, str):
        raise RxtlsError(found)
    return found


def symbol(name: str) -> str:
    """What kernels call one of CALLED_BY_KERNELS. Not the bare name: the process may have another OpenSSL in it."""
    return f"rxtls_{name}"


def register() -> Libcrypto:
    """Make the functions known to the code generator: before a kernel that calls them is compiled, or loaded from the
    store, where they are called by `symbol`. Raises as `required`."""
    found = required()
    _register(found)
    return found


_named: str | None = None
_chosen: Libcrypto | str | None = None


def _search(named: str | None) -> Libcrypto | str:
    if named is not None:
        found = _load(named)
        if isinstance(found, str):
            raise UsageError(f"libcrypto {named}: {found}")
        return found
    causes = []
    for place, path in (("_ssl", _ssl_extension()), ("the system's", _system_library())):
        found = _load(path) if path else "not found"
        if isinstance(found, Libcrypto):
            return found
        causes.append(f"{place}: {found}")
    return f"no libcrypto ({'; '.join(causes)})"


def _ssl_extension() -> str | None:
    try:
        return getattr(import_module("_ssl"), "__file__", None)  # none where it is linked into the interpreter
    except ImportError:
        return None


def _system_library() -> str | None:
    path = ctypes.util.find_library("crypto")
    # macOS ends a process that loads its own libcrypto, which has no stable interface.
    return None if sys.platform == "darwin" and path and path.startswith("/usr/lib/") else path


def _load(path: str) -> Libcrypto | str:
    """The libcrypto that is reached through the shared library at `path`, or why not."""
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        return str(error).removeprefix(f"{path}: ")
    needed = {name for name, _, _ in _CALLED_BY_PYTHON}.union(CALLED_BY_KERNELS)
    missing = sorted(name for name in needed if not hasattr(library, name))
    if missing:
        return f"it has no {missing[0]}"
    for name, result, arguments in _CALLED_BY_PYTHON:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    version = library.OpenSSL_version(0).decode(errors="replace")
    return Libcrypto(_file_of(library.OpenSSL_version) or path, version, library.OpenSSL_version_num(), library)


class _DlInfo(ctypes.Structure):
    _fields_ = (("fname", ctypes.c_char_p), ("fbase", _P), ("sname", ctypes.c_char_p), ("saddr", _P))


def _file_of(function: object) -> str | None:
    """The file that a function was loaded from (dladdr(3)), where the platform can say."""
    try:
        dladdr = ctypes.CDLL(None).dladdr
    except (AttributeError, OSError, TypeError):
        return None
    dladdr.argtypes = (_P, _P)
    info = _DlInfo()
    if not dladdr(ctypes.cast(function, _P), ctypes.byref(info)) or not info.fname:  # type: ignore[arg-type]
        return None
    return os.fsdecode(info.fname)


@cache
def _cipher(libcrypto: Libcrypto, name: str) -> int:
    # Fetched once and never given back. A cipher that is not fetched is looked up anew each time a context is made.
    try:
        fetch = libcrypto.library.EVP_CIPHER_fetch
        fetch.restype, fetch.argtypes = _P, (_P, ctypes.c_char_p, ctypes.c_char_p)
        address = fetch(None, name.encode(), None)
    except AttributeError:
        make = getattr(libcrypto.library, CIPHERS.get(name, name), None)
        if make is not None:
            make.restype, make.argtypes = _P, ()
        address = make() if make is not None else None
    if not address:
        raise RxtlsError(f"{libcrypto.version} ({libcrypto.path}) has no {name}")
    return int(address)


@cache
def _register(libcrypto: Libcrypto) -> None:
    from rxtls import native

    for name in CALLED_BY_KERNELS:
        place = ctypes.cast(getattr(libcrypto.library, name), _P).value
        assert place is not None
        native.define(symbol(name), place)
