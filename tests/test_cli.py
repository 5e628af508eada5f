"""The command: what goes to which output, exit statuses, and never a traceback for what a person can type."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import replays
from replays import Talked, download
from rxtls.cli import app as cli
from rxtls.counters import FATES, OURS, UPSTREAM
from rxtls.simulation.demo import make_demo
from rxtls.version import __version__

ROOT = Path(__file__).parents[1]
FAULTS = re.compile(r"Traceback|File \"|Error\b.*\n.*Error\b")


@pytest.fixture(scope="module")
def plain() -> Talked:
    return download(1)


class Command:
    """`rxtls`, run in this process as the console script runs it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["rxtls", *map(str, arguments)])
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = self.capsys.readouterr()
        assert not FAULTS.search(out + err)
        status = caught.value.code
        assert isinstance(status, int)
        return status, out, err


@pytest.fixture
def rxtls(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture
def made(tmp_path: Path, plain: Talked) -> tuple[str, str]:
    """A capture and its key log."""
    return replays.pcap(tmp_path, plain.frames), replays.keys(tmp_path, plain)


# The run as a folder


def test_out_is_a_run(rxtls: Command, made: tuple[str, str], tmp_path: Path) -> None:
    capture, keys = made
    out = tmp_path / "out"
    status, told, errors = rxtls("replay", capture, "--keys", keys, "--out", out, "--quiet")
    assert (status, told, errors) == (0, "", "")
    assert sorted(path.name for path in out.iterdir()) == [
        "flows.parquet", "records.parquet", "resync.parquet", "summary.json"
    ]  # fmt: skip
    status, told, _ = rxtls("replay", capture, "--keys", keys, "--out", out, "--frames", "--json", "-", "--jobs", "2")
    assert status == 0
    assert json.loads(told) == json.loads((out / "summary.json").read_text())
    assert (out / "frames.parquet").exists()
    assert "one job runs: tables and captures are written" in rxtls("replay", capture, "--out", out, "--jobs", "2")[2]


def test_folders_that_cannot_be_are_one_line(rxtls: Command, made: tuple[str, str]) -> None:
    capture, _ = made
    assert rxtls("replay", capture, "--out", capture) == (2, "", f"rxtls: {capture}: File exists\n")
    assert rxtls("replay", capture, "--frames") == (2, "", "rxtls: --frames is a table of --out DIR\n")


def test_a_report_is_written_and_its_folder_is_not(rxtls: Command, made: tuple[str, str], tmp_path: Path) -> None:
    capture, keys = made
    before = {*tmp_path.iterdir()}
    page = tmp_path / "report.html"
    assert rxtls("replay", capture, "--keys", keys, "--report", page, "--quiet") == (0, "", "")
    assert {*tmp_path.iterdir()} - before == {page}
    out = tmp_path / "out"
    assert rxtls("replay", capture, "--keys", keys, "--report", page, "--out", out, "--quiet")[0] == 0
    assert not (out / "frames.parquet").exists()
    assert rxtls("replay", capture, "--keys", keys, "--out", out, "--frames", "--quiet")[0] == 0
    again = tmp_path / "again.html"
    assert rxtls("report", out, again) == (0, "", "")
    assert again.read_text() == page.read_text()


def test_reports_that_cannot_be_are_one_line(rxtls: Command, made: tuple[str, str], tmp_path: Path) -> None:
    capture, keys = made
    assert rxtls("replay", capture, "--keys", keys, "--report", keys)[1:] == (
        "",
        f"rxtls: {keys} would overwrite an input\n",
    )
    assert "No such file" in rxtls("replay", capture, "--report", tmp_path / "no" / "where.html")[2]
    assert rxtls("report", tmp_path)[2].endswith("a run is a folder written by rxtls replay --out\n")
    out = tmp_path / "out"
    rxtls("replay", capture, "--out", out)
    assert "would overwrite an input" in rxtls("report", out, out / "summary.json")[2]
    refused = rxtls("report", out, tmp_path / "r.html", "--compare", out / "summary.json")
    assert "is not what rxtls compare" in refused[2]


def test_a_demo_needs_nothing(rxtls: Command, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    status, told, errors = rxtls("demo", folder)
    assert (status, errors) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["demo.keys", "demo.pcapng", "report.html"]
    assert f"look at {folder / 'report.html'}" in told
    first = (folder / "demo.pcapng").read_bytes()
    rxtls("demo", folder)
    assert (folder / "demo.pcapng").read_bytes() == first
    assert rxtls("replay", folder / "demo.pcapng", "--keys", folder / "demo.keys", "--quiet")[0] == 0


# Hints, examples, colours


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["replay"], "rxtls: Missing argument 'captures'; see rxtls replay --help"),
        (["replay", "a", "--kyes", "b"], "rxtls: No such option: --kyes"),
        (["replay", "a", "--jobs", "many"], "rxtls: Invalid value for '--jobs'"),
        (["repaly"], "rxtls: No such command 'repaly'"),
        (
            ["replay", "a", "--profile", "connectx"],
            "rxtls: no profile 'connectx'; there are connectx-6dx, connectx-7, ideal, none, and files: NAME.toml",
        ),
        (["replay", "a", "--set", "budget"], "rxtls: --set takes NAME=VALUE, not 'budget'"),
        (["report", "nowhere"], "rxtls: nowhere/summary.json: No such file or directory; a run is a folder"),
    ],
)
def test_misuse_is_one_line_with_a_hint(rxtls: Command, arguments: list[str], line: str) -> None:
    status, out, err = rxtls(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(line)


def test_without_anything_the_commands_are_shown(rxtls: Command) -> None:
    status, out, err = rxtls()
    assert (status, err) == (0, "")
    assert all(name in out for name in commands())


def commands() -> dict[str, str]:
    """Every command, with the example that its help ends with."""
    found = {}
    for each in cli.app.registered_commands:
        assert each.callback is not None
        name = each.name or each.callback.__name__
        text = " ".join((each.callback.__doc__ or "").split())
        example = re.search(r"Example: (rxtls .*)$", text)
        assert example, f"{name}: no example in its help"
        found[name] = example[1]
    return found


SLOW = {"sweep"}  # a study of some thousand simulations


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in SLOW else ()) for name in sorted(commands())]
)
def test_the_example_in_the_help_works(
    name: str, rxtls: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands, in a folder that has what it names."""
    monkeypatch.chdir(tmp_path)
    capture, keys = make_demo(tmp_path)
    capture.rename("capture.pcapng")
    keys.rename("keys.log")
    program, command, *arguments = shlex.split(commands()[name])
    assert (program, command) == ("rxtls", name)
    if name == "live":
        try:
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
        except OSError as error:
            pytest.skip(f"no packet socket: {error.strerror}")
    if name == "report":
        assert rxtls("replay", "capture.pcapng", "--keys", "keys.log", "--out", "out", "--frames", "--quiet")[0] == 0
    status, out, err = rxtls(command, *arguments)
    assert status == 0, err
    assert out or {*tmp_path.iterdir()} > {tmp_path / "capture.pcapng", tmp_path / "keys.log"}


def test_colours_are_for_terminals_that_want_them() -> None:
    """On a terminal there are some, with NO_COLOR none, and into a pipe none."""

    def shown(terminal: bool, **environment: str) -> bytes:
        master, slave = pty.openpty()
        inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
        environment = {**inherited, "TERM": "xterm-256color", "COLUMNS": "120", **environment}
        with subprocess.Popen(
            [sys.executable, "-m", "rxtls", "replay", "--help"],
            stdout=slave if terminal else subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
        ) as process:  # fmt: skip
            os.close(slave)
            parts: list[bytes] = []
            with contextlib.suppress(OSError):  # how the end of a terminal shows on Linux
                while part := os.read(master if terminal else process.stdout.fileno(), 65536):  # type: ignore[union-attr]
                    parts.append(part)
        os.close(master)
        assert process.returncode == 0
        return b"".join(parts)

    colour = re.compile(rb"\x1b\[(?:\d+;)*(?:[34][0-8]|9[0-7])[;m]")
    assert colour.search(shown(terminal=True))
    assert not colour.search(shown(terminal=True, NO_COLOR="1"))
    assert b"\x1b" not in shown(terminal=False)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: str) -> None:
    environment = {**os.environ, "_RXTLS_COMPLETE": f"source_{shell}"}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "rxtls")], env=environment, capture_output=True, text=True, check=True
    )
    assert "_RXTLS_COMPLETE" in done.stdout
    words = {"COMP_WORDS": "rxtls rep", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "rxtls rep"}
    words["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    environment |= {"_RXTLS_COMPLETE": f"complete_{shell}", **words}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "rxtls")], env=environment, capture_output=True, text=True, check=True
    )
    assert {"replay", "report"} <= set(re.findall(r"\w+", done.stdout))


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("replay --policy linux-", {"linux-sync", "linux-async"}),
        ("replay --profile ", {"connectx-6dx", "connectx-7", "ideal", "none"}),
        ("replay --vantage s", {"server", "sender"}),
        ("compare --engine ", {"auto", "compiled", "plain"}),
        ("simulate --set inst", {"install="}),
        ("sweep asplos21-l", {"asplos21-loss"}),
        ("explain CAPTURE ", {"0", "1", "2"}),
        ("explain CAPTURE --keys x 2", {"2"}),
        ("explain nowhere ", set()),
    ],
)
def test_values_can_be_completed(line: str, offered: set[str], rxtls: Command, tmp_path: Path) -> None:
    capture, _ = make_demo(tmp_path)
    words = f"rxtls {line}".replace("CAPTURE", str(capture))
    environment = {**os.environ, "_RXTLS_COMPLETE": "complete_bash", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(words.count(" "))
    program = str(Path(sys.executable).parent / "rxtls")
    done = subprocess.run([program], env=environment, capture_output=True, text=True, check=True)
    assert ({*done.stdout.split()}, done.stderr) == (offered, "")


# Engines


def test_version_says_which_engine_and_libcrypto_run(rxtls: Command) -> None:
    status, out, err = rxtls("version", "--verbose")
    assert (status, err) == (0, "")
    assert re.search(r"^engine: (compiled|plain \(.+\))$", out, re.MULTILINE)
    assert re.search(r"^libcrypto: .+$", out, re.MULTILINE)


def test_both_engines_write_the_same_json_and_streams(rxtls: Command, made: tuple[str, str], tmp_path: Path) -> None:
    capture, keys = made
    said = []
    for engine in ("plain", "auto"):
        folder = tmp_path / engine
        status, out, err = rxtls(
            "replay", capture, "--keys", keys, "--json", "-", "--streams", folder, "--engine", engine
        )
        assert (status, err) == (0, "")
        summary = json.loads(out)
        for key in ("engine", "libcrypto", "wall_seconds"):
            del summary[key]
        said.append((summary, {path.name: path.read_bytes() for path in folder.iterdir()}))
    assert said[0] == said[1]
    assert len(said[0][1]) == 2


def test_the_plain_engine_that_nobody_chose_is_told_in_one_line(
    rxtls: Command, made: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    capture, keys = made
    status, _, err = rxtls("replay", capture, "--keys", keys)
    assert (status, err) == (0, "rxtls: the plain engine runs, which is slow: NUMBA_DISABLE_JIT is set\n")
    assert rxtls("replay", capture, "--keys", keys, "--quiet") == (0, "", "")
    assert rxtls("replay", capture, "--keys", keys, "--engine", "plain")[2] == ""
    status, _, err = rxtls("replay", capture, "--keys", keys, "--engine", "compiled")
    assert (status, err) == (2, "rxtls: the compiled engine cannot run here: NUMBA_DISABLE_JIT is set\n")


def test_a_libcrypto_that_cannot_be_used_is_one_line(made: tuple[str, str], tmp_path: Path) -> None:
    """In a process of its own: the choice of a libcrypto is the process's."""
    capture, keys = made
    missing = tmp_path / "libcrypto.so"
    for how in (["--libcrypto", str(missing)], []):
        environment = os.environ | ({} if how else {"RXTLS_LIBCRYPTO": str(missing)})
        done = subprocess.run(
            [sys.executable, "-m", "rxtls", "replay", capture, "--keys", keys, *how],
            capture_output=True, text=True, env=environment, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"rxtls: libcrypto {missing}: ")
        assert done.stderr.count("\n") == 1


# Outputs


def test_a_table_on_standard_output_and_nothing_else(rxtls: Command, made: tuple[str, str]) -> None:
    status, out, err = rxtls("replay", made[0], "--keys", made[1])
    assert (status, err) == (0, "")
    assert "192.0.2.1:40000 > 198.51.100.1:443" in out
    assert "totals" in out


def test_json_to_standard_output_is_one_document_and_nothing_else(rxtls: Command, made: tuple[str, str]) -> None:
    for more in ((), ("--digest",), ("--quiet",)):
        status, out, err = rxtls("replay", made[0], "--keys", made[1], "--json", "-", *more)
        assert (status, err) == (0, "")
        run, end = json.JSONDecoder().raw_decode(out)
        assert out[end:] == "\n"
        assert run["schema"] == 2
        assert (run["flows"][0]["receive"]["client"]["sha256"] is not None) is ("--digest" in more)


def test_json_stays_pure_when_things_are_wrong(rxtls: Command, made: tuple[str, str], tmp_path: Path) -> None:
    log = tmp_path / "bad.keys"
    log.write_text("CLIENT_RANDOM 00\n" * 30)
    streams = tmp_path / "out"
    status, out, err = rxtls(
        "replay", made[0], tmp_path / "absent", "--keys", log, "--json", "-", "--streams", streams, "--strict"
    )
    assert status == 2
    assert len(json.loads(out)["errors"]) == 31
    lines = err.splitlines()
    assert lines[0] == f"rxtls: {tmp_path / 'absent'}: No such file or directory"
    assert len(lines) == 21
    assert "11 more" in lines[-1]


def test_json_to_a_file_beside_the_table(rxtls: Command, made: tuple[str, str], tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    target.write_text("x" * 100_000)
    status, out, err = rxtls("replay", made[0], "--keys", made[1], "--json", target)
    assert (status, err) == (0, "")
    assert json.loads(target.read_text())["balance"] == 0
    assert "totals" in out


def test_quiet_prints_no_table_but_errors(rxtls: Command, made: tuple[str, str]) -> None:
    assert rxtls("replay", made[0], "--keys", made[1], "--quiet") == (0, "", "")
    status, out, err = rxtls("replay", made[0], "nowhere.pcap", "--quiet")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def test_digests_in_the_table(rxtls: Command, made: tuple[str, str]) -> None:
    _, out, _ = rxtls("replay", made[0], "--keys", made[1], "--digest")
    assert len(re.findall(r"sha256 [0-9a-f]{64}", out)) == 2


def test_streams_are_written(rxtls: Command, made: tuple[str, str], tmp_path: Path, plain: Talked) -> None:
    status, _, _ = rxtls("replay", made[0], "--keys", made[1], "--streams", tmp_path / "out", "--receiver", "client")
    assert status == 0
    (only,) = (tmp_path / "out").iterdir()
    assert only.read_bytes() == plain.wanted("client")


def test_standard_input(rxtls: Command, plain: Talked, made: tuple[str, str]) -> None:
    stream = replays.pipe(plain.frames, plain.keylog, 0).getvalue()
    status, out, err = rxtls("replay", "-", "--json", "-", stdin=stream)
    assert (status, err) == (0, "")
    assert json.loads(out)["captures"] == ["-"]
    status, _, err = rxtls("replay", "-", "--keys", made[1], stdin=b"")
    assert status == 2
    assert err.startswith("rxtls: -: ")


def test_options_reach_the_run(rxtls: Command, made: tuple[str, str]) -> None:
    arguments = (
        *("--profile", "ideal", "--policy", "none", "--receiver", "server", "--vantage", "middle"),
        *("--checksum", "verify", "--resegment", "off", "--filter", "port 443", "--engine", "plain"),
        *("--set", "install=3,9us", "--set", "budget=5", "--set", "budget=6"),
    )
    status, out, _ = rxtls("replay", made[0], "--keys", made[1], "--json", "-", *arguments)
    run = json.loads(out)
    assert status == 0
    assert (run["profile"], run["policy"], run["latencies"]["install"]) == ("ideal", "none", "3,9us")
    assert run["settings"]["budget"] == 6  # the last one holds
    assert run["flows"][0]["receive"]["client"] is None
    assert run["flows"][0]["receive"]["server"]["vantage"] == "middle"


# Exit statuses


def test_statuses(rxtls: Command, made: tuple[str, str], tmp_path: Path) -> None:
    capture, keys = made
    empty = tmp_path / "empty.keys"
    empty.touch()
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(Path(capture).read_bytes()[:-3])
    assert rxtls("replay", capture, "--keys", keys, "--strict")[0] == 0
    assert rxtls("replay", capture)[0] == 0
    assert rxtls("replay", capture, "--strict")[0] == 1
    assert rxtls("replay", capture, "--keys", empty)[0] == 1
    assert rxtls("replay", capture, "--keys", empty, "--keys", keys)[0] == 0
    assert rxtls("replay", cut, "--keys", keys)[0] == 2
    assert rxtls("replay", cut, "--keys", empty, "--strict")[0] == 2


# Bad usage: status 2 and a line or two, no traceback


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "CAPTURE", "--profile", "connectx-9"),
        ("replay", "CAPTURE", "--policy", "hope"),
        ("replay", "CAPTURE", "--receiver", "10.0.0.0/64"),
        ("replay", "CAPTURE", "--receiver", ""),
        ("replay", "CAPTURE", "--vantage", "left"),
        ("replay", "CAPTURE", "--checksum", "some"),
        ("replay", "CAPTURE", "--resegment", "1.5"),
        ("replay", "CAPTURE", "--filter", "port"),
        ("replay", "CAPTURE", "--filter", "(" * 5000),
        ("replay", "CAPTURE", "--filter", "not " * 20_000 + "tcp"),
        ("replay", "CAPTURE", "--engine", "warp"),
        ("replay", "CAPTURE", "--set", "budget"),
        ("replay", "CAPTURE", "--set", "=1"),
        ("replay", "CAPTURE", "--set", "budget=\u0663"),
        ("replay", "CAPTURE", "--set", "hold=" + "9" * 5000),
        ("replay", "CAPTURE", "--keys", "absent.keys"),
        ("replay", "CAPTURE", "--keys", "."),
        ("replay", "CAPTURE", "--keys", "nul\0"),
        ("replay", "CAPTURE", "--json", "/"),
        ("replay", "CAPTURE", "--json", "no/such/folder/x.json"),
        ("replay", "CAPTURE", "--json", ""),
        ("replay", "CAPTURE", "--json", "nul\0"),
        ("replay", "CAPTURE", "--streams", "CAPTURE"),
        ("replay", "CAPTURE", "--streams", "nul\0"),
        ("replay", "-", "-"),
        ("replay", "nul\0"),
        ("replay", "."),
        ("replay", "absent.pcap"),
        ("replay", ""),
    ],
    ids=lambda arguments: " ".join(arguments)[:50].encode("unicode_escape").decode(),
)
def test_bad_usage_is_one_line_and_status_2(
    rxtls: Command, made: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = rxtls(*(made[0] if each == "CAPTURE" else each for each in arguments), "--quiet")
    assert (status, out) == (2, "")
    assert err.startswith("rxtls: ")
    assert err.count("\n") == 1
    assert len(err) < 12_000


@pytest.mark.parametrize(
    "arguments",
    [("replay",), ("replay", "--no-such-option"), ("repaly",), ("replay", "x", "--keys"), ("counters", "x")],
    ids=" ".join,
)
def test_what_the_command_line_does_not_know_is_status_2(rxtls: Command, arguments: tuple[str, ...]) -> None:
    status, out, err = rxtls(*arguments)
    assert (status, out) == (2, "")
    assert err.strip()


def test_an_output_that_cannot_be_written_is_told_before_the_run(
    rxtls: Command, made: tuple[str, str], tmp_path: Path
) -> None:
    status, _, err = rxtls("replay", made[0], "--streams", tmp_path / "out", "--json", tmp_path)
    assert status == 2
    assert err == f"rxtls: {tmp_path}: Is a directory\n"
    assert not list((tmp_path / "out").glob("*"))


def test_errors_never_repeat_what_a_key_log_holds(rxtls: Command, tmp_path: Path, plain: Talked) -> None:
    secret = plain.keylog.split()[2]
    log = tmp_path / "broken.keys"
    log.write_text(f"CLIENT_RANDOM {secret}\nCLIENT_RANDOM {secret} {secret}\n{secret} {secret} {secret}\n")
    _, out, err = rxtls("replay", replays.pcap(tmp_path, plain.frames), "--keys", log)
    assert "line 1" in err
    assert secret[:16] not in out + err


# Other commands


def test_help_and_version(rxtls: Command) -> None:
    status, out, _ = rxtls("--help")
    assert status == 0
    assert all(name in out for name in ("replay", "counters", "version"))
    assert rxtls("version") == rxtls("--version") == (0, f"rxtls {__version__}\n", "")
    status, out, _ = rxtls("replay", "--help")
    assert status == 0
    assert "Exit status" in out


def test_counters_lists_every_one_with_its_sentence(rxtls: Command) -> None:
    status, out, _ = rxtls("counters")
    assert status == 0
    told = [tuple(line.split(maxsplit=1)) for line in out.splitlines() if line]
    assert told == [*FATES.items(), *UPSTREAM.items(), *OURS.items()]


# As a process of its own


def script(code: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.argv[0] = 'rxtls'; {code}"]


def process(*arguments: str) -> list[str]:
    return [*script("from rxtls.cli.app import main; main()"), *arguments]


@pytest.mark.parametrize("arguments", [("--help",), ("version",), ("counters",)], ids=" ".join)
def test_what_needs_no_numpy_and_no_cryptography_does_not_import_them(arguments: tuple[str, ...]) -> None:
    code = (
        "import atexit; from rxtls.cli.app import main; "
        "heavy = ('numpy', 'numba', 'polars', 'cryptography'); "
        "atexit.register(lambda: print('IMPORTED', [n for n in heavy if n in sys.modules])); main()"
    )
    done = subprocess.run([*script(code), *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("IMPORTED []\n")


def test_a_reader_that_goes_away_is_no_error(made: tuple[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = process("replay", made[0], "--keys", made[1])
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("argument", ["counters", "--help"])
def test_a_full_disk_behind_standard_output(argument: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(process(argument), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "rxtls: standard output: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    ("arguments", "status"), [(["replay", "absent.pcap"], 2), (["counters"], 0), (["replay", "a", "--keys", "-"], 2)]
)
def test_a_full_disk_behind_standard_error_leaves_the_exit_status(arguments: list[str], status: int) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(process(*arguments), stdout=subprocess.DEVNULL, stderr=full, check=False)
    assert done.returncode == status


def test_closed_standard_streams() -> None:
    def shell(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {redirection}', "sh", *process(*arguments)],
            capture_output=True,
            text=True,
            check=False,
        )

    assert shell(">&-", "counters").returncode == 0
    asked = shell(">&- <&-", "replay", "-", "--json", "-")
    assert (asked.returncode, asked.stderr) == (2, "rxtls: standard output is closed\n")
    assert shell("2>&-", "replay", "absent.pcap").returncode == 2


# The receiving host's interfaces and knobs


def test_interfaces_and_sysctls_decide_on_receive_tags(rxtls: Command, tmp_path: Path) -> None:
    tree = tmp_path / "host.toml"
    given = str(ROOT / "examples" / "clean-tls13-aes128gcm")
    arguments = ["replay", f"{given}.pcap", "--keys", f"{given}.keys", "--json", "-", "--interfaces", str(tree)]
    whys = {}
    for name, text in (
        ("offloaded", '[interfaces.em0]\ncapture = [0]\n[[routes]]\nto = "0.0.0.0/0"\ninterface = "em0"\n'),
        ("no_route", "[interfaces.em0]\ncapture = [0]\n"),
        (
            "no_capability",
            '[interfaces.em0]\ncapture = [0]\nrxtls4 = false\n[[routes]]\nto = "0.0.0.0/0"\ninterface = "em0"\n',
        ),
    ):
        tree.write_text(text)
        status, out, _ = rxtls(*arguments)
        assert status == 0
        received = json.loads(out)["flows"][0]["receive"]["server"]
        whys[name] = received["why"]["code"]
        assert received["offload"] == ("ifnet" if name == "offloaded" else "sw")
    assert whys == {name: name for name in whys}
    status, out, _ = rxtls(*arguments[:-2], "--sysctl", "kern.ipc.tls.ifnet.permitted=0")
    assert json.loads(out)["flows"][0]["receive"]["server"]["why"]["code"] == "not_permitted"
    assert json.loads(out)["driver"] == {"refused.not_permitted": 2}


def test_trial_a6_an_interface_that_no_port_is_is_noted_by_its_number(rxtls: Command, tmp_path: Path) -> None:
    tree = tmp_path / "host.toml"
    tree.write_text('[interfaces.em0]\ncapture = [7]\n[[routes]]\nto = "0.0.0.0/0"\ninterface = "em0"\n')
    given = str(ROOT / "examples" / "clean-tls13-aes128gcm")
    file = tmp_path / "out.json"
    arguments = ["replay", f"{given}.pcap", "--keys", f"{given}.keys", "--interfaces", str(tree), "--json", str(file)]
    status, out, _ = rxtls(*arguments)
    assert status == 0
    text = " ".join(out.split())
    summary = json.loads(file.read_text())
    received = summary["flows"][0]["receive"]["server"]
    assert received["resync"]["receive_tag_resets"] == 0
    assert "ifnet.reset_failed" not in summary["driver"]
    assert received["offload"] == "ifnet"
    assert "packets came by interface 0" in text
    assert "is a port of --interfaces" in text
    assert summary["unknown_interfaces"] == [0]


def test_interfaces_and_sysctls_that_are_wrong_are_one_line(rxtls: Command, tmp_path: Path) -> None:
    given = str(ROOT / "examples" / "clean-tls13-aes128gcm.pcap")
    tree = tmp_path / "host.toml"
    tree.write_text("[interfaces.em0]\nspeed = 100\n")
    for arguments, words in (
        (["--interfaces", str(tree)], f"{tree}: em0: no 'speed' here"),
        (["--interfaces", str(tmp_path / "none.toml")], "none.toml: No such file or directory"),
        (["--sysctl", "kern.ipc.tls.enable"], "--sysctl takes NAME=VALUE"),
        (["--sysctl", "kern.ipc.tls.maxlen=1"], "no sysctl 'kern.ipc.tls.maxlen'"),
    ):
        status, out, err = rxtls("replay", given, *arguments)
        assert (status, out) == (2, "")
        assert words in err
        assert err.count("\n") == 1
    tree.write_bytes(b"\xff\xfe")
    status, _, err = rxtls("replay", given, "--interfaces", str(tree))
    assert status == 2
    assert err.count("\n") == 1
