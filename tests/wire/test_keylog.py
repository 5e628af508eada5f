"""Key logs as they are found: every label, every line end, and everything that is not a key log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.wire import keylog
from rxtls.wire.keylog import KeyLog

R = bytes(range(32))
OTHER = bytes(32)
S32, S48 = bytes(range(100, 132)), bytes(range(100, 148))


def line(label: str, secret: bytes, random: bytes = R) -> bytes:
    return f"{label} {random.hex()} {secret.hex()}".encode()


def log_of(*lines: bytes, end: bytes = b"\n") -> KeyLog:
    log = KeyLog()
    log.add(end.join(lines) + end, "keys")
    return log


KEPT = [
    (keylog.CLIENT_RANDOM, S48),
    (keylog.PMS_CLIENT_RANDOM, S32),
    (keylog.CLIENT_EARLY, S32),
    (keylog.CLIENT_HANDSHAKE, S48),
    (keylog.SERVER_HANDSHAKE, S32),
    (keylog.CLIENT_APPLICATION, S48),
    (keylog.SERVER_APPLICATION, S32),
    (keylog.ECH_SECRET, S32),
]


@pytest.mark.parametrize(("label", "secret"), KEPT)
def test_labels_that_are_kept(label: str, secret: bytes) -> None:
    log = log_of(line(label, secret))
    assert log.lookup(R, label) == secret
    assert log.lookup(OTHER, label) is None
    assert list(log.sessions()) == [R]
    assert (log.generation, log.malformed, len(log)) == (1, 0, 1)


@pytest.mark.parametrize(
    "label",
    ["EXPORTER_SECRET", "EARLY_EXPORTER_SECRET", "CLIENT_TRAFFIC_SECRET_1", "SERVER_TRAFFIC_SECRET_27", "ECH_CONFIG"],
)
def test_labels_that_are_known_and_dropped(label: str) -> None:
    log = log_of(line(label, S32))
    assert (len(log), log.malformed, log.unknown.total(), log.generation) == (0, 0, 0, 0)


def test_openssl_logs_the_letter_n_after_each_key_update() -> None:
    log = log_of(
        *[line("CLIENT_TRAFFIC_SECRET_N", bytes([n]) * 32) for n in range(4)], line("SERVER_TRAFFIC_SECRET_N", S48)
    )
    assert (len(log), log.malformed, log.unknown.total(), log.conflicts) == (0, 0, 0, 0)


def test_rsa_lines() -> None:
    encrypted, session_id = bytes(range(8)), b"session"
    log = log_of(
        b"RSA " + encrypted.hex().encode() + b" " + S48.hex().encode(),
        b"RSA Session-ID:" + session_id.hex().encode() + b" Master-Key:" + S48.hex().upper().encode(),
    )
    assert log.premaster_of(encrypted) == S48
    assert log.master_of(session_id) == S48
    assert log.has_premasters
    assert (log.malformed, len(log)) == (0, 2)
    assert log.premaster_of(bytes(8)) is None
    assert log.master_of(b"") is None


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends(end: bytes) -> None:
    log = log_of(b"# made by hand", b"", line(keylog.CLIENT_RANDOM, S48), b"nonsense!", end=end)
    assert log.lookup(R, keylog.CLIENT_RANDOM) == S48
    assert log.errors == [("keys", 4, "line 4: does not begin with a label")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_byte_order_marks(encoding: str) -> None:
    text = line(keylog.CLIENT_RANDOM, S48).decode()
    log = KeyLog()
    log.add((b"\xfe\xff" if encoding == "utf-16-be" else b"") + text.encode(encoding), "keys")
    assert log.lookup(R, keylog.CLIENT_RANDOM) == S48
    assert not log.errors


def test_hex_of_either_case_and_blanks() -> None:
    log = log_of(b"  CLIENT_RANDOM\t" + R.hex().upper().encode() + b"   " + S48.hex().encode() + b" ")
    assert log.lookup(R, keylog.CLIENT_RANDOM) == S48


@pytest.mark.parametrize(
    ("before", "between", "after"), [('{"keys":["', '","', '"]}'), ("", "\u2028", ""), ("", ", ", "")]
)
def test_a_line_may_have_several_entries(before: str, between: str, after: str) -> None:
    entries = [line(keylog.CLIENT_HANDSHAKE, S32), line("EXPORTER_SECRET", S32), line(keylog.SERVER_APPLICATION, S48)]
    log = log_of((before + between.join(each.decode() for each in entries) + after).encode())
    assert log.labels(R) == [keylog.CLIENT_HANDSHAKE, keylog.SERVER_APPLICATION]
    assert (log.malformed, log.kept, log.unused.total()) == (0, 2, 1)


def test_the_last_line_may_lack_its_end() -> None:
    log = KeyLog()
    log.add(line(keylog.CLIENT_RANDOM, S48), "keys")
    assert log.lookup(R, keylog.CLIENT_RANDOM) == S48


def test_unknown_labels_are_counted() -> None:
    log = log_of(line("NEW_SECRET", S32), line("NEW_SECRET", S32), b"OTHER what ever")
    assert log.unknown == {"NEW_SECRET": 2, "OTHER": 1}
    assert not log.errors


def test_unknown_labels_are_bounded() -> None:
    log = log_of(*[f"LABEL_{n} x".encode() for n in range(1000)])
    assert len(log.unknown) <= keylog.MAX_LABELS + 1
    assert log.unknown.total() == 1000


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"CLIENT_RANDOM", "0 fields"),
        (b"CLIENT_RANDOM 00", "1 fields"),
        (line(keylog.CLIENT_RANDOM, S48) + b" 00", "3 fields"),
        (line(keylog.CLIENT_RANDOM, S48, b"short"), "a client random of 5 bytes"),
        (line(keylog.CLIENT_RANDOM, S32), "a secret of 32 bytes"),
        (line(keylog.CLIENT_APPLICATION, S32[:31]), "a secret of 31 bytes"),
        (line(keylog.CLIENT_RANDOM, S48)[:-1], "not hexadecimal"),
        (line(keylog.CLIENT_RANDOM, S48)[:-1] + b"g", "not hexadecimal"),
        (b"RSA 00 11", "an RSA entry of 1 and 1 bytes"),
        (b"RSA xx 11", "not hexadecimal"),
        (b"RSA 00", "1 fields"),
        (b"RSA Session-ID:001 Master-Key:" + S48.hex().encode(), "not hexadecimal"),
        (b"\xff\xfe\xfd", "does not begin with a label"),
        (b"A" * 65, "does not begin with a label"),
        (b"CLIENT_RANDOM " + b"0" * 10_000, "more than 4096 bytes"),
    ],
)
def test_malformed_lines_are_reported_with_their_number(text: bytes, cause: str) -> None:
    log = log_of(b"# a comment", text, line(keylog.SERVER_APPLICATION, S32))
    ((name, number, said),) = log.errors
    assert (name, number) == ("keys", 2)
    assert said.startswith("line 2: ")
    assert cause in said
    assert log.malformed == 1
    assert log.lookup(R, keylog.SERVER_APPLICATION) == S32  # the rest of the log is read


def test_no_secret_is_ever_repeated() -> None:
    secret = "c0ffee" * 16
    log = log_of(
        f"CLIENT_RANDOM {R.hex()} {secret}zz".encode(), f"CLIENT_RANDOM {secret} {secret}".encode(), line("X", S48)
    )
    log.add(line(keylog.CLIENT_RANDOM, bytes.fromhex(secret)), "keys")
    assert log.malformed == 2
    assert "c0ffee" not in repr(log) + repr(log.errors) + repr(log.unknown)


def test_the_later_of_two_entries_wins() -> None:
    log = log_of(
        line(keylog.CLIENT_RANDOM, S48), line(keylog.CLIENT_RANDOM, S48), line(keylog.CLIENT_RANDOM, bytes(48))
    )
    assert log.lookup(R, keylog.CLIENT_RANDOM) == bytes(48)
    assert log.conflicts == 1


def test_generation_grows_only_with_new_keys() -> None:
    log = log_of(line(keylog.CLIENT_RANDOM, S48))
    log.add(line(keylog.CLIENT_RANDOM, S48), "again")
    log.add(b"# nothing", "nothing")
    assert log.generation == 1
    log.add(line(keylog.CLIENT_RANDOM, S48, OTHER), "more")
    assert log.generation == 2
    assert list(log.sessions()) == [R, OTHER]


def test_errors_are_bounded() -> None:
    log = KeyLog()
    log.add(b"?\n" * (keylog.MAX_ERRORS + 50), "junk")
    log.add(b"?\n", "more junk")
    assert log.malformed == keylog.MAX_ERRORS + 51
    assert len(log.errors) == keylog.MAX_ERRORS + 1
    assert "only counted" in log.errors[-1][2]


@given(st.binary(max_size=300), st.lists(st.sampled_from(KEPT), max_size=3), st.integers(0, 400))
def test_junk_never_raises_nor_hides_good_lines(junk: bytes, kept: list[tuple[str, bytes]], cut: int) -> None:
    good = b"".join(line(*entry) + b"\n" for entry in kept)
    log = KeyLog()
    log.add(b"#\n" + good[:cut] + b"\n" + junk + b"\n" + good, "keys")
    for label, secret in kept:
        assert log.lookup(R, label) == secret


def test_what_was_asked_for_makes_a_log_of_its_own() -> None:
    """And nothing else does: neither sessions that nobody asked for, nor those that were only tried."""
    session_id, other_id, encrypted = b"S" * 32, b"T" * 32, b"P" * 8
    log = log_of(
        line(keylog.CLIENT_RANDOM, S48),
        line(keylog.CLIENT_RANDOM, S48, OTHER),
        f"RSA Session-ID:{session_id.hex()} Master-Key:{S48.hex()}".encode(),
        f"RSA Session-ID:{other_id.hex()} Master-Key:{S48.hex()}".encode(),
        f"RSA {encrypted.hex()} {S48.hex()}".encode(),
    )
    assert log.used() == ""
    assert log.lookup(OTHER, keylog.CLIENT_RANDOM, trial=True) == S48
    assert log.lookup(bytes(31) + b"?", keylog.CLIENT_RANDOM) is None
    assert log.used() == ""
    log.lookup(R, keylog.CLIENT_EARLY)  # of this session, whatever the label
    assert log.used().encode() == line(keylog.CLIENT_RANDOM, S48) + b"\n"
    log.use(OTHER)
    log.master_of(session_id)
    log.premaster_of(encrypted)
    again = log_of(*log.used().encode().splitlines())
    assert again.errors == []
    assert again.lookup(OTHER, keylog.CLIENT_RANDOM) == S48
    assert (again.master_of(session_id), again.master_of(other_id)) == (S48, None)
    assert again.premaster_of(encrypted) == S48
