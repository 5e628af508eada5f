"""Key logs that are not as they should be: several secrets, torn lines, other files, other encodings."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from odd_talks import SENT, Talk13, application, files, said, talk12
from replays import GCM13, Done, begin
from replays import replay as replayed
from rxtls.simulation.synth import Conversation
from rxtls.study.table import notes

ENGINES = ("compiled", "plain")
ECH = ((0xFE0D, b"\0\0\1\0\1\0\0\0\0\0"),)


def run(folder: Path, talk: Conversation, keylog: str | bytes | None = None, **options: str) -> Done:
    return replayed(*files(folder, talk, keylog), **options)


def got(done: Done) -> tuple[int, int]:
    return done.received("server")["app_bytes"], done.received("client")["app_bytes"]


def why(done: Done, receiver: str) -> dict[str, str]:
    return dict(done.received(receiver)["why"])


def wrongs(talk: Conversation, seed: int = 1) -> str:
    """The same log with other secrets."""
    dice = Random(seed)
    fields = [line.split() for line in talk.keylog.splitlines()]
    return "".join(f"{label} {random} {dice.randbytes(len(secret) // 2).hex()}\n" for label, random, secret in fields)


TALKS: dict[str, Callable[[], Conversation]] = {
    "1.3": lambda: Talk13().talk(),
    "1.2": talk12,
    "1.3 early data": lambda: said(begin(4, replace(GCM13, resumed=True, early_data=(b"early",)))),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("order", ["right first", "right last", "right in the middle"])
@pytest.mark.parametrize("kind", TALKS)
def test_trial_a18_every_secret_of_a_session_is_tried(tmp_path: Path, kind: str, order: str, engine: str) -> None:
    talk = TALKS[kind]()
    before = wrongs(talk, 1) if order != "right first" else ""
    after = wrongs(talk, 2) + wrongs(talk, 3) if order != "right last" else ""
    done = run(tmp_path, talk, before + talk.keylog + after, engine=engine)
    up, down = application(talk)
    assert got(done) == (len(up), len(down))
    assert (done.data("server"), done.data("client")) == (up, down)
    assert done.status() == 0
    assert done.received("client")["why"]["code"] == "offloaded"


def test_trial_a18_each_label_by_itself(tmp_path: Path) -> None:
    """The right secrets of two logs: one has the handshake's, the other one the application's."""
    talk = Talk13().talk()
    right, wrong = talk.keylog.splitlines(), wrongs(talk).splitlines()
    mixed = [(right[n], wrong[n])[(n + k) % 2] for k in (0, 1) for n in range(len(right))]
    assert got(run(tmp_path, talk, "\n".join(mixed) + "\n")) == SENT


def test_beyond_a_bound_the_oldest_are_dropped_and_it_is_said(tmp_path: Path) -> None:
    talk = Talk13().talk()
    many = "".join(wrongs(talk, n) for n in range(40))
    done = run(tmp_path, talk, many + talk.keylog)
    assert got(done) == SENT
    assert "more than 16 secrets" in str(done.run.errors[0])
    late = run(tmp_path, talk, talk.keylog + many)
    assert got(late) == (0, 0)
    assert why(late, "client")["code"] == "wrong_keys"


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b5_an_encrypted_hello_whose_inner_random_is_logged(tmp_path: Path, engine: str) -> None:
    talk = Talk13(hello=ECH, log_random=b"\x77" * 32).talk()
    others = Talk13(seed=9).talk().keylog + talk12(seed=8).keylog
    done = run(tmp_path, talk, others + talk.keylog, engine=engine)
    assert got(done) == SENT
    assert done.status() == 0


def test_grease_that_looks_like_an_encrypted_hello(tmp_path: Path) -> None:
    """With the session in the log it is found by its random; without it, nothing fits, and that is said."""
    talk = Talk13(hello=ECH).talk()
    others = Talk13(seed=9).talk().keylog
    assert got(run(tmp_path, talk, others + talk.keylog)) == SENT
    none = run(tmp_path, talk, others)
    assert got(none) == (0, 0)
    assert why(none, "client")["code"] == "no_keys"
    assert "may be an encrypted one" in why(none, "client")["text"]


@pytest.mark.parametrize(
    "kind", ["8-bit, then UTF-16", "UTF-16, then 8-bit", "UTF-16 big endian", "NULs", "CR", "marks"]
)
def test_trial_b9_encodings_that_change_within_a_log(tmp_path: Path, kind: str) -> None:
    """Windows PowerShell's >> appends UTF-16 to whatever is there."""
    talk = Talk13().talk()
    lines = talk.keylog.splitlines(keepends=True)
    first, second = "".join(lines[:2]), "".join(lines[2:])
    windows = second.replace("\n", "\r\n")
    logs = {
        "8-bit, then UTF-16": first.encode() + windows.encode("utf-16-le"),
        "UTF-16, then 8-bit": b"\xff\xfe" + first.replace("\n", "\r\n").encode("utf-16-le") + second.encode(),
        "UTF-16 big endian": first.encode() + b"\xfe\xff" + windows.encode("utf-16-be"),
        "NULs": first.encode() + bytes(1000) + second.encode(),
        "CR": talk.keylog.replace("\n", "\r").encode(),
        "marks": b"".join(b"\xef\xbb\xbf" + line.encode() for line in lines),
    }
    done = run(tmp_path, talk, logs[kind])
    assert got(done) == SENT
    assert done.run.errors == []


@pytest.mark.parametrize(
    "shape", ["12:00:01 DEBUG tls: {}", '"{}",', "'{}'", "keylog: {} (secret)", "{}   ", "\t{}", "[{}]"]
)
def test_trial_b6_a_line_within_a_line(tmp_path: Path, shape: str) -> None:
    talk = Talk13().talk()
    log = "".join(f"{shape.format(line)}\n" for line in talk.keylog.splitlines())
    assert got(run(tmp_path, talk, log)) == SENT
    assert got(run(tmp_path, talk, log.replace("abcdef", "ABCDEF"))) == SENT


PEM = "-----BEGIN PRIVATE KEY-----\n" + "A" * 64 + "\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (PEM, "a private key"),
        ("-----BEGIN RSA PRIVATE KEY-----\n" + "QUJD" * 16 + "\n", "a private key"),
        ("-----BEGIN CERTIFICATE-----\n" + "QUJD" * 16 + "\n", "a certificate"),
        (b"\x0a\x0d\x0d\x0a" + bytes(100), "a pcapng capture"),
        (b"\xd4\xc3\xb2\xa1" + b"\n" * 500, "a pcap capture"),
        (gzip.compress(b"CLIENT_RANDOM", mtime=0), "gzip"),
        ('{"log": {"version": "1.2", "entries": []}}', "a browser's HAR"),
        ('{"a": 1}', "JSON"),
        ("#separator \\x09\n#fields ts\n", "a Zeek log"),
        ("", "empty"),
        (bytes(5000), "nothing but NUL"),
        ("# a comment\n\n", "only comments"),
        ("hello, world\nthis is a text\n", "text without a line of a key log"),
        (Random(3).randbytes(3000), "not text"),
        (f"NEW_SECRET_7 {'ab' * 32} {'cd' * 32}\n", "NEW_SECRET_7"),
        (f"EXPORTER_SECRET {'ab' * 32} {'cd' * 32}\n", "EXPORTER_SECRET"),
    ],
)
def test_trial_b6_says_what_a_file_seems_to_be(tmp_path: Path, content: str | bytes, says: str) -> None:
    """In one line, and nothing of what stands in it."""
    done = run(tmp_path, Talk13().talk(), content)
    assert done.status() == 1
    assert len(done.run.errors) == 1
    line = str(done.run.errors[0])
    assert says in line
    assert "QUJD" not in line
    assert "A" * 16 not in line
    assert not any("no secrets were given" in note for note in notes(done.summary))


def test_trial_b6_without_keys_that_is_said(tmp_path: Path) -> None:
    capture, log = files(tmp_path, Talk13().talk(), PEM)
    command = [sys.executable, "-m", "rxtls", "replay", capture]
    given = subprocess.run([*command, "--keys", log], capture_output=True, text=True, check=False)
    without = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "no secrets were given" in without.stdout
    assert "no secrets were given" not in given.stdout


def test_skipped_labels_are_named(tmp_path: Path) -> None:
    talk = Talk13().talk()
    log = talk.keylog + f"NEW_SECRET_7 {'ab' * 32} {'cd' * 32}\n" * 2 + f"{'c0ffee' * 8} 00\n"
    done = run(tmp_path, talk, log)
    assert done.summary["keys"]["skipped_labels"] == {"NEW_SECRET_7": 2}
    assert done.summary["keys"]["unknown_labels"] == 3
    assert "c0ffee" not in json.dumps(done.summary)


def test_trial_b7_what_is_there_and_what_lacks(tmp_path: Path) -> None:
    talk = Talk13().talk()
    fields = {line.split()[0]: line for line in talk.keylog.splitlines()}
    random = talk.keylog.split()[1]
    only = run(tmp_path, talk, f"CLIENT_RANDOM {random} {'07' * 48}\n")
    for receiver, lacks in (("server", "CLIENT_TRAFFIC_SECRET_0"), ("client", "SERVER_TRAFFIC_SECRET_0")):
        text = why(only, receiver)["text"]
        assert "CLIENT_RANDOM (of TLS 1.2)" in text
        assert f"{lacks} is missing" in text
    one = run(tmp_path, talk, fields["SERVER_TRAFFIC_SECRET_0"] + "\n")
    assert got(one) == (0, SENT[1])
    assert "there is SERVER_TRAFFIC_SECRET_0; CLIENT_TRAFFIC_SECRET_0 is missing" in why(one, "server")["text"]
    handshake = run(tmp_path, talk, fields["SERVER_HANDSHAKE_TRAFFIC_SECRET"] + "\n")
    assert "SERVER_TRAFFIC_SECRET_0 is missing" in why(handshake, "client")["text"]


def test_trial_b7_of_tls12(tmp_path: Path) -> None:
    talk = talk12()
    random = talk.keylog.split()[1]
    text = why(run(tmp_path, talk, f"SERVER_TRAFFIC_SECRET_0 {random} {'07' * 32}\n"), "client")["text"]
    assert "SERVER_TRAFFIC_SECRET_0 (of TLS 1.3); CLIENT_RANDOM is missing" in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda log: log.replace("R_TRAFFIC_SECRET_0", "R_TRAFIC_SECRET_0"), "R_TRAFIC_SECRET_0 is not known"),
        (lambda log: "".join(f"{line[:-20]}\n" for line in log.splitlines()), "a secret of"),
        (lambda log: "".join(f"{line[:50]}\n" for line in log.splitlines()), "1 fields after the label"),
        (lambda log: log.upper().replace("_0", "_0 "), None),
    ],
    ids=["misspelt", "torn in the secret", "torn in the random", "upper case"],
)
def test_trial_b7_torn_and_misspelt_lines(tmp_path: Path, change: object, says: str | None) -> None:
    talk = Talk13().talk()
    done = run(tmp_path, talk, change(talk.keylog))  # type: ignore[operator]
    if says is None:
        assert got(done) == SENT
        return
    text = why(done, "client")["text"]
    assert says in text
    assert "line " in text
    assert talk.keylog.split()[2][:16] not in text  # never a secret


def test_a_secret_that_the_suite_cannot_have(tmp_path: Path) -> None:
    talk = Talk13().talk()
    lines = [" ".join((*line.split()[:2], line.split()[2][:64])) for line in talk.keylog.splitlines()]
    text = why(run(tmp_path, talk, "\n".join(lines) + "\n"), "client")["text"]
    assert "SERVER_TRAFFIC_SECRET_0 has 32 bytes, where TLS_AES_256_GCM_SHA384 takes 48" in text


def test_trial_c5_a_key_log_is_read_in_pieces(tmp_path: Path) -> None:
    """A line of 200 MB, and NULs without end, cost no more memory than any other log."""
    capture, log = files(tmp_path, Talk13().talk())
    long = tmp_path / "long.keys"
    with long.open("wb") as out:
        for _ in range(50):
            out.write(b"A" * (4 << 20))
        out.write(b"\n" + Path(log).read_bytes())
    code = (
        "import resource, sys, rxtls\n"
        "run = rxtls.replay(sys.argv[1], sys.argv[2], engine='plain')\n"
        "list(run)\n"
        "print(sum(d['app_bytes'] for f in run.summary()['flows'] for d in f['receive'].values()))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )

    def measured(keys: str) -> tuple[int, int]:
        out = subprocess.run([sys.executable, "-c", code, capture, keys], capture_output=True, text=True, check=True)
        app, peak = map(int, out.stdout.split())
        return app, peak

    usual, other = measured(log), measured(str(long))
    assert usual[0] == other[0] == sum(SENT)
    assert other[1] < usual[1] + (40 << 10)  # KiB
    assert measured("/dev/zero")[1] < usual[1] + (40 << 10)
