"""The test vectors: reproducible, as their schema says, and readable without rxtls."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer.testing

from rxtls.cli.app import app
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.study.vectors import PROFILE, VECTORS, vector, write_vectors

ROOT = Path(__file__).parents[2]
READER = ROOT / "examples" / "read_vectors.py"
SOME = ["clean-tls12", "loss", "small-packets"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("vectors")
    assert write_vectors(made, SOME) == SOME
    return made


def violations(value: Any, schema: dict[str, Any], at: str = "") -> list[str]:
    """What JSON Schema has against a value, as far as our schema uses it."""
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "boolean": bool,
        "null": type(None),
    }
    if "const" in schema and value != schema["const"]:
        return [f"{at} is not {schema['const']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at} is none of {schema['enum']}"]
    wanted = schema.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if wanted and not any(isinstance(value, kinds[each]) for each in wanted):
        return [f"{at} is no {wanted}"]
    found: list[str] = []
    if isinstance(value, dict) and "properties" in schema:
        found += [f"{at} lacks {key}" for key in schema["required"] if key not in value]
        found += [f"{at} has {key}" for key in value if key not in schema["properties"]]
        for key in value.keys() & schema["properties"].keys():
            found += violations(value[key], schema["properties"][key], f"{at}.{key}")
    if isinstance(value, list):
        for n, each in enumerate(value):
            found += violations(each, schema["items"], f"{at}[{n}]")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{at} does not match")
    return found


def test_vectors_are_as_the_schema_says(folder: Path) -> None:
    schema = json.loads((folder / "schema.json").read_text())
    for name in SOME:
        told = json.loads((folder / f"{name}.json").read_text())
        assert violations(told, schema) == []
        assert violations({**told, "schema": 2, "more": 1}, schema) == [" has more", ".schema is not 1"]


def test_the_same_vectors_come_each_time() -> None:
    assert vector("loss") == vector("loss")


def test_the_reader_imports_nothing_of_rxtls_and_plays_them(folder: Path) -> None:
    text = READER.read_text()
    assert len(text.splitlines()) <= 100
    assert not re.search(r"import rxtls|from rxtls", text)
    done = subprocess.run([sys.executable, "-I", READER, folder], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for line, name in zip(done.stdout.splitlines(), SOME, strict=True):
        steps = json.loads((folder / f"{name}.json").read_text())["steps"]
        decrypted = sum(step["step"] == "packet" and step["decrypted"] for step in steps)
        packets = sum(step["step"] == "packet" for step in steps)
        told = f"{packets} packets, {packets - decrypted} right, {decrypted} not decrypted, 0 wrong"
        assert line.split(maxsplit=1) == [name, f"{told}, {len(steps) - packets} commands"]


def test_a_device_that_differs_is_told(folder: Path, tmp_path: Path) -> None:
    wrong = READER.read_text().replace("return payload, False", "return payload[:-1] + b'!', True")
    (tmp_path / "wrong.py").write_text(wrong)
    done = subprocess.run([sys.executable, "-I", tmp_path / "wrong.py", folder, "loss"], capture_output=True, text=True)
    assert done.returncode == 1
    assert " 0 wrong" not in done.stdout


def test_what_is_expected_is_what_replay_finds_in_the_capture(folder: Path) -> None:
    for name in SOME:
        told = json.loads((folder / f"{name}.json").read_text())
        settings = {key: str(told["profile"][key]) for key in ("budget", "poll", "confirm")}
        options = ReplayOptions(profile=PROFILE, policy=told["policy"], settings=settings)
        run = Replay(folder / f"{name}.pcapng", options=options)
        records = sorted((each.flow, each.receiver, each.tcp_seq, str(each.record_class), each.frame) for each in run)
        keys = "flow", "receiver", "tcp_seq", "class", "frame"
        assert records == sorted(tuple(each[key] for key in keys) for each in told["records"])


def test_every_kind_of_step_occurs() -> None:
    steps = Counter(step["step"] for name in ("loss", "loss-positions") for step in vector(name)[1]["steps"])
    assert steps.keys() == {"install", "packet", "query", "confirm", "set_position", "release"}


def test_the_command_writes_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxtls.study.vectors.VECTORS", {name: VECTORS[name] for name in SOME})
    done = typer.testing.CliRunner().invoke(app, ["vectors", "--out", str(tmp_path / "v")])
    assert (done.exit_code, done.output) == (0, f"{len(SOME)} vectors in {tmp_path}/v\n")
    assert len([*(tmp_path / "v").iterdir()]) == 2 * len(SOME) + 2
