"""What a file seems to be that was given as a key log and is none, for people who took the wrong one.

Judged by its first bytes alone, which are never repeated: they may well be a private key.
"""

from __future__ import annotations

import re

HEAD = 4096  # bytes that are looked at

_MEND = "a key log has lines such as CLIENT_RANDOM (SSLKEYLOGFILE)"
_NOT_BY_KEY = (
    "it opens no session with an ephemeral key exchange, which all of TLS 1.3 has; let an endpoint write a key log "
    "(SSLKEYLOGFILE)"
)
_CAPTURE = "it is no key log, and belongs among the captures"
_UNPACK = "decompress it first"

# How a file begins, and what it is then; the first that fits counts.
_KINDS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(begins, re.DOTALL), says)
    for begins, says in (
        (rb"\s*-----BEGIN [A-Z0-9 ]*PRIVATE KEY", f"a private key (PEM): {_NOT_BY_KEY}"),
        (rb"\s*-----BEGIN CERTIFICATE REQUEST", f"a certificate request (PEM): {_MEND}"),
        (rb"\s*-----BEGIN (?:[A-Z0-9]+ )?CERTIFICATE", f"a certificate (PEM), which holds no secret: {_MEND}"),
        (rb"\s*-----BEGIN SSL SESSION", f"an OpenSSL session (PEM): {_MEND}"),
        (rb"\s*-----BEGIN ", f"PEM: {_MEND}"),
        (rb"\xd4\xc3\xb2\xa1|\xa1\xb2\xc3\xd4|\x4d\x3c\xb2\xa1|\xa1\xb2\x3c\x4d", f"a pcap capture: {_CAPTURE}"),
        (rb"\x34\xcd\xb2\xa1|\xa1\xb2\xcd\x34", f"a pcap capture (modified): {_CAPTURE}"),
        (rb"\x0a\x0d\x0d\x0a", f"a pcapng capture: {_CAPTURE}"),
        (rb"snoop\0", "a snoop capture"),
        (rb"\x1f\x8b", f"gzip: {_UNPACK}"),
        (rb"BZh[1-9]", f"bzip2: {_UNPACK}"),
        (rb"\xfd7zXZ\0", f"xz: {_UNPACK}"),
        (rb"\x28\xb5\x2f\xfd", f"zstd: {_UNPACK}"),
        (rb"\x04\x22\x4d\x18", f"LZ4: {_UNPACK}"),
        (rb"PK\x03\x04", f"a zip archive: {_UNPACK}"),
        (rb"7z\xbc\xaf\x27\x1c|Rar!", f"an archive: {_UNPACK}"),
        (rb"\xfe\xed\xfe\xed", f"a Java key store: {_NOT_BY_KEY}"),
        (rb"\x30[\x80-\x84].{0,4}(?:\x02\x01|\x30)", f"DER (a private key, a certificate, PKCS #12): {_MEND}"),
        (rb"SQLite format 3\0", f"an SQLite database: {_MEND}"),
        (rb"%PDF", f"a PDF document: {_MEND}"),
        (rb"\x7fELF|MZ", f"a program: {_MEND}"),
        (rb"\s*\{\s*\"log\"\s*:\s*\{", f"a browser's HAR file, which holds no TLS secrets: {_MEND}"),
        (rb"\s*[\[{]", f"JSON: {_MEND}"),
        (rb"#separator ", f"a Zeek log: {_MEND}"),
        (rb"\s*<!DOCTYPE html|\s*<html", f"HTML: {_MEND}"),
        (rb"\s*<", f"XML: {_MEND}"),
        (rb"PuTTY-User-Key-File|ssh-(?:rsa|ed25519|dss) |ecdsa-sha2", f"an SSH key: {_MEND}"),
    )
)
_TEXT = re.compile(rb"[\t\n\r\x0b\x0c\x20-\x7e\x80-\xff]*\Z")


def kind(head: bytes) -> str | None:
    """What begins with these bytes, as far as it is known here, and what to do."""
    for begins, says in _KINDS:
        if begins.match(head):
            return says
    return None


def without_secrets(head: bytes, unknown: list[str], unused: list[str]) -> str:
    """Why a file without one secret of use was no help. `head` are its first bytes; `unknown` and `unused` are labels
    that it had, those that nobody knows and those that open no record."""
    if not head:
        return "it is empty: did the program run with SSLKEYLOGFILE set, and may it write there?"
    if not head.strip(b"\0"):
        return "it holds nothing but NUL bytes"
    says = kind(head)
    if says is not None:
        return f"it seems to be {says}"
    if unknown or unused:
        parts = [f"labels that are not known: {', '.join(unknown)}"] if unknown else []
        parts += [f"labels that open no record: {', '.join(unused)}"] if unused else []
        return f"it has no secret of use, only {'; '.join(parts)}"
    text = head.replace(b"\0", b"")
    lines = text.splitlines()
    if all(not line.strip() or line.lstrip().startswith(b"#") for line in lines):
        return "it has only comments and empty lines"
    if _TEXT.match(text):
        return f"it is text without a line of a key log: {_MEND}"
    return f"it is not text: {_MEND}"
