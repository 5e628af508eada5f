"""Files that commands write: never over an input or each other, whole or not at all, for their owner if secret."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest

import rxtls
from rxtls.cli import app as cli
from rxtls.crypto.suites import SUITES, Version
from rxtls.errors import UsageError
from rxtls.simulation.synth import Session, converse

EXAMPLES = Path(__file__).parents[2] / "examples"
NAME = "clean-tls13-aes128gcm"
INTERFACES = "[interfaces.mlx0]\ncapture = [0]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A capture `a.pcap` and its key log `a.keys`."""
    for kind in ("pcap", "keys"):
        shutil.copy(EXAMPLES / f"{NAME}.{kind}", tmp_path / f"a.{kind}")
    (tmp_path / "i.toml").write_text(INTERFACES)
    return tmp_path


def command(folder: Path, *arguments: str | bytes, **how: Any) -> tuple[int, str]:
    """The command in a process of its own, in `folder`: exit status and standard error."""
    line = [sys.executable, "-m", "rxtls", *arguments]
    done = subprocess.run(line, cwd=folder, capture_output=True, check=False, timeout=300, **how)
    return done.returncode, done.stderr.decode(errors="replace")


def here(monkeypatch: pytest.MonkeyPatch, folder: Path, line: str) -> int:
    """The same in this process."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["rxtls", *line.split()])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(str(caught.value.code))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


REPLACING = {
    "a pattern": "replay *.pcap --keys a.keys --plain a.pcap",
    "interfaces": "replay a.pcap --keys a.keys --interfaces i.toml --json i.toml",
    "a key log by a hard link": "replay a.pcap --keys a.keys --json hard",
    "a capture by a symbolic link": "replay a.pcap --keys a.keys --annotate soft",
    "another path": "replay a.pcap --keys a.keys --metrics d/../a.pcap",
    "two outputs": "replay a.pcap --keys a.keys --report o --json o",
    "two new outputs, two paths": "replay a.pcap --keys a.keys --report d/../o --json o",
    "a file of the folder": "replay a.pcap --keys a.keys --out d --json d/summary.json",
    "the folder": "replay a.pcap --keys a.keys --out n --json n",
    "an input in the folder": "replay a.pcap --keys d/summary.json --out d",
    "comparisons": "compare a.pcap --keys a.keys --policy linux-sync --json a.keys",
    "costs": "cost a.pcap --keys a.keys --json a.keys",
    "simulations": "simulate --records 2 --out s.keys",
    "a study": "sweep d/points.jsonl --out d",
}


@pytest.mark.parametrize("line", REPLACING.values(), ids=REPLACING.keys())
def test_trial_d1_no_output_replaces_an_input_or_another_output(
    folder: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.link(folder / "a.keys", folder / "hard")
    (folder / "soft").symlink_to("a.pcap")
    (folder / "d").mkdir()
    shutil.copy(folder / "a.keys", folder / "d" / "summary.json")
    (folder / "d" / "points.jsonl").write_text("[link]\nrecords = 1\nrecord = 10\n[grid]\nloss = [0]\n")
    before = contents(folder)
    assert here(monkeypatch, folder, line) == 2
    assert contents(folder) == before


def test_trial_d1_standard_input_is_an_input(folder: Path) -> None:
    before = contents(folder)
    with open(folder / "a.pcap") as capture:
        status, said = command(folder, "replay", "-", "--keys", "a.keys", "--plain", "a.pcap", stdin=capture)
    assert (status, said) == (2, "rxtls: a.pcap would overwrite an input\n")
    assert contents(folder) == before


def test_what_may_be_named_twice() -> None:
    from rxtls.system.files import apart

    apart(["/dev/null", "/dev/null"], ["/dev/null"])
    with pytest.raises(UsageError, match="one file, for two outputs"):
        apart(["/no/a", "/no/b/../a"], [])


@pytest.mark.parametrize("what", ["--json", "--metrics", "--report", "--annotate", "--plain"])
def test_trial_d2_an_output_is_there_when_it_is_whole(folder: Path, what: str) -> None:
    """The capture comes by a pipe that breaks in the middle of a key log that cannot be read: the run is an error."""
    (folder / "o").write_text("what stood there before")
    before = contents(folder)
    status, said = command(folder, "replay", "a.pcap", "--keys", "nowhere", what, "o", "--checksum", "ignore")
    assert status == 2
    assert said.count("\n") == 1
    assert contents(folder) == before


def test_outputs_become_whole_in_the_order_that_the_documents_tell(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run that is broken off leaves is a beginning of this; where the JSON is there, all are."""
    whole: list[str] = []

    def replaced(part: str, name: str, replace: Callable[[str, str], None] = os.replace) -> None:
        replace(part, name)
        whole.append(os.path.relpath(name, folder))

    monkeypatch.setattr(os, "replace", replaced)
    line = "--streams s --plain p --metrics m --out run --report r --annotate a --json j --quiet --jobs 1"
    assert here(monkeypatch, folder, f"replay a.pcap --keys a.keys {line}") == 0
    order = list(dict.fromkeys(name.split("/")[0] for name in whole))
    assert order == ["s", "p", "m", "run", "r", "a", "j"]


def test_trial_d2_a_run_that_fails_leaves_the_folder_as_it_was(folder: Path) -> None:
    assert command(folder, "replay", "a.pcap", "--keys", "a.keys", "--out", "d", "--quiet")[0] == 0
    before = contents(folder)

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    line = ["replay", "a.pcap", "--keys", "a.keys", "--out", "d", "--streams", "s", "--frames", "--engine", "plain"]
    status, said = command(folder, *line, preexec_fn=small)
    assert status == 2
    assert said.count("\n") == 1
    assert said.endswith("File too large\n")
    assert contents(folder) == before


def test_pipes_and_devices_are_written_in_place(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    reader = subprocess.Popen(["cat", "pipe"], cwd=folder, stdout=subprocess.PIPE)
    line = ["replay", "a.pcap", "--keys", "a.keys", "--json", "pipe", "--report", "/dev/null", "--quiet"]
    assert command(folder, *line) == (0, "")
    assert json.loads(reader.communicate(timeout=60)[0])["frames"]
    with open(folder / "told", "wb") as told:
        line = [
            sys.executable,
            "-m",
            "rxtls",
            "replay",
            "a.pcap",
            "--keys",
            "a.keys",
            "--json",
            "/dev/stdout",
            "--quiet",
        ]
        subprocess.run(line, cwd=folder, stdout=told, check=True, timeout=300)
    assert json.loads((folder / "told").read_bytes())["frames"]
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)


def test_trial_d5_names_that_are_no_utf8(folder: Path) -> None:
    name, keys = b"\xff\xe9.pcap", b"\xfe.keys"
    shutil.copy(folder / "a.pcap", os.fsdecode(os.path.join(os.fsencode(folder), name)))
    shutil.copy(folder / "a.keys", os.fsdecode(os.path.join(os.fsencode(folder), keys)))
    line = [b"replay", name, b"a.pcap", b"--keys", keys, b"--streams", b"s\xff", b"--out", b"d\xff", b"--frames"]
    for what in (b"report", b"annotate", b"plain", b"json", b"metrics"):
        line += [b"--" + what, what + b"\xff"]
    assert command(folder, *line) == (0, "")
    assert command(folder, "replay", name, "--keys", keys) == (0, "")
    assert command(folder, "report", b"d\xff", b"again\xff") == (0, "")
    assert b"\\xff\\xe9.pcap" in Path(os.fsdecode(os.fsencode(folder) + b"/report\xff")).read_bytes()
    assert rxtls.open(os.fsdecode(os.fsencode(folder) + b"/d\xff")).records.height


def test_trial_d6_keys_and_plaintext_are_for_their_owner(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("annotated", "plain"):
        (folder / name).write_text("before")
        (folder / name).chmod(0o666)
    line = "replay a.pcap --keys a.keys --annotate annotated --embed-keys --plain plain --streams s --json j"
    assert here(monkeypatch, folder, line) == 0
    assert here(monkeypatch, folder, "simulate --records 2 --out m.pcapng") == 0
    secret = [folder / name for name in ("annotated", "plain", "m.pcapng", "m.keys")]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in (*secret, *(folder / "s").iterdir())} == {
        path.name: "0o600" for path in (*secret, *(folder / "s").iterdir())
    }
    assert (folder / "j").stat().st_mode & 0o044


def test_an_output_follows_links_and_keeps_modes(tmp_path: Path) -> None:
    from rxtls.system import ending
    from rxtls.system.files import Output

    before = set(ending.LEAVES)
    (tmp_path / "real").write_text("x")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    with Output(tmp_path / "link") as output:
        output.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    with pytest.raises(UsageError, match="Is a directory"):
        Output(tmp_path)
    assert before == ending.LEAVES


def test_trial_c2_json_is_written_as_it_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No text that is held at once is a large part of it: with all connections it took 25 KiB for each."""
    made: list[int] = []
    encode, dumps = json.JSONEncoder.encode, json.dumps

    def encoded(self: json.JSONEncoder, value: Any) -> str:
        text = encode(self, value)
        made.append(len(text))
        return text

    def dumped(*arguments: Any, **named: Any) -> str:
        text = dumps(*arguments, **named)
        made.append(len(text))
        return text

    monkeypatch.setattr(json.JSONEncoder, "encode", encoded)
    monkeypatch.setattr(json, "dumps", dumped)
    capture, keys = (EXAMPLES / f"many-tls13-aes128gcm.{kind}" for kind in ("pcap", "keys"))
    assert here(monkeypatch, folder, f"replay {capture} --keys {keys} --json j --quiet") == 0
    assert max(made, default=0) < (folder / "j").stat().st_size / 4
    assert len(json.loads((folder / "j").read_bytes())["flows"]) > 30


def test_trial_d7_a_full_disk_is_one_line(folder: Path) -> None:
    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    line = ["replay", "a.pcap", "--keys", "a.keys", "--out", "d", "--frames", "--quiet", "--engine", "plain"]
    status, said = command(folder, *line, preexec_fn=small)
    assert status == 2
    assert said.count("\n") == 1
    assert said.startswith("rxtls: d/")
    assert said.endswith(": File too large\n")


def _flowless(summary: dict[str, Any]) -> None:
    del summary["flows"]


def _strange(summary: dict[str, Any]) -> None:
    summary["flows"] = 7


def _poor(summary: dict[str, Any]) -> None:
    del summary["flows"][0]["client"], summary["flows"][0]["receive"]


def _nameless(summary: dict[str, Any]) -> None:
    del summary["captures"], summary["profile"]


def _settingless(summary: dict[str, Any]) -> None:
    del summary["settings"], summary["fates"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder."""
    folder = tmp_path_factory.mktemp("run")
    names = [str(EXAMPLES / f"{NAME}.{kind}") for kind in ("pcap", "keys")]
    assert command(folder, "replay", names[0], "--keys", names[1], "--out", "d", "--quiet")[0] == 0
    return folder / "d"


@pytest.mark.parametrize("edit", [_flowless, _strange, _poor, _nameless, _settingless, "records", "flows", "resync"])
def test_trial_d7_an_edited_run_folder_is_one_line(
    written: Path, tmp_path: Path, edit: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    shutil.copytree(written, folder)
    if isinstance(edit, str):
        table = pq.read_table(folder / f"{edit}.parquet")
        pq.write_table(table.drop_columns([table.column_names[1]]), folder / f"{edit}.parquet")
    else:
        summary = json.loads((folder / "summary.json").read_text())
        edit(summary)
        (folder / "summary.json").write_text(json.dumps(summary))
    assert here(monkeypatch, tmp_path, "report d page.html") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("rxtls: d")
    assert not (tmp_path / "page.html").exists()


def test_trial_d7_no_key_log_stands_in_a_repr() -> None:
    talk = converse(Session(SUITES[0x1301], Version.TLS13), Random(1))
    assert talk.keylog
    assert talk.keylog.split()[2] not in repr(talk)
