"""The documents cannot drift: their tables are compared with the code, their examples are run, their links resolved.

Tables are compared both ways where that is possible: what the code has must be documented, and what is documented must
exist. Examples are fenced blocks. ```python blocks run, and when a ```text block is the next one it is what they
print. ```console blocks hold commands after "$ " and lines of their output, compared without regard to the width of
columns; "..." at the end of a line stands for the rest of it. The ```json block of docs/json.md is part of a real run.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer.testing

import rxtls
from rxtls.capture import compressed
from rxtls.cli.app import app
from rxtls.counters import FATES
from rxtls.device.profiles import PROFILES, Profile
from rxtls.driver.trace import VERDICTS, HostAction
from rxtls.errors import RxtlsError
from rxtls.events import By, Record, RecordClass
from rxtls.handshake import preamble, session, steps
from rxtls.host.flow import ONE_SIDED
from rxtls.host.reassembly import GAP_BYTES, GAP_NS
from rxtls.intake.flows import ENDS
from rxtls.intake.vantage import KINDS
from rxtls.offload.commands import Happening
from rxtls.offload.policies import POLICIES
from rxtls.run import summary
from rxtls.run.key_files import MAX_KEY_LOG
from rxtls.run.options import ReplayOptions
from rxtls.study.store import SEVERAL
from rxtls.study.table import MAX_ROWS
from rxtls.study.tables import TABLES, Column
from rxtls.wire import captured, keylog
from rxtls.wire.filter import GRAMMAR

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "examples" / "README.md"])
OURS = [ROOT / name for name in ("GLOSSARY.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
WITH_PYTHON = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("library", "run", "socket"))]

REPLAY = (ROOT / "docs" / "replay.md").read_text()
JSON = (ROOT / "docs" / "json.md").read_text()
RUN = (ROOT / "docs" / "run.md").read_text()
LIBRARY = (ROOT / "docs" / "library.md").read_text()
GLOSSARY = (ROOT / "GLOSSARY.md").read_text()

EXAMPLE = "examples/loss-reorder-tls13-aes256gcm"
TAKEN_AS_ONE = {
    "compositions",
    "driver",
    "fates",
    "rest",
    "totals",
    "votes",
}  # keys that are data, or have a section of their own

# What the glossary has to explain of our own words; those of the trade are checked by whoever reads it.
OWN_WORDS = (
    *(
        "row",
        "lane",
        "clock",
        "host point",
        "parked",
        "epoch",
        "mark",
        "composition",
        "fate",
        "balance",
        "vantage",
        "slip",
    ),
    *("generation", "gap", "profile", "policy", "preamble", "receive flow", "receive tag", "AEAD tag", "record class"),
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where examples run: captures are where they are for a person at the top of the repository; `out` is a run."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "tests").symlink_to(ROOT / "tests")
    with contextlib.chdir(folder):
        written = [
            line for _, text in blocks(ROOT / "docs" / "run.md") for line in text.splitlines() if "--out" in line
        ]
        assert command(written[0].removeprefix("$ ")) == ("", 0)
    return folder


@pytest.fixture(autouse=True)
def at_the_desk(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)


@pytest.fixture(scope="module")
def run() -> Iterator[dict[str, Any]]:
    """The summary of the run that docs/json.md shows."""
    with contextlib.chdir(ROOT):
        replay = rxtls.replay(f"{EXAMPLE}.pcap", keys=f"{EXAMPLE}.keys", digest=True)
        assert sum(1 for _ in replay) > 200
        yield replay.summary()


# Reading the documents.


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one of the same or a higher level."""
    start = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert start, f"no heading {title!r}"
    end = re.compile(rf"^#{{1,{len(start[1])}}} ", re.MULTILINE).search(text, start.end())
    return text[start.end() : end.start() if end else len(text)]


def rows(text: str) -> list[list[str]]:
    """The rows of all tables in `text`, without their heads; a `\\|` is no end of a cell."""
    found = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in found]
    return [
        row for row, after in zip(cells, [*cells[1:], [""]], strict=True) if not is_rule(row) and not is_rule(after)
    ]


def is_rule(row: list[str]) -> bool:
    return set("".join(row)) == {"-", " "} or set("".join(row)) == {"-"}


def names(text: str) -> list[str]:
    """The names in backticks in the first cells of tables."""
    return [name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[0])]


def blocks(path: Path) -> list[tuple[str, str]]:
    """(language, text) of the fenced blocks."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


def prose(path: Path) -> str:
    """The document without code."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def called(path: Path) -> str:
    return str(path.relative_to(ROOT))


# Tables.


def test_every_fate_is_documented_with_its_sentence() -> None:
    assert rows(section(REPLAY, "What a fate is")) == [[f"`{name}`", sentence] for name, sentence in FATES.items()]


@pytest.mark.parametrize("path", OURS, ids=called)
def test_no_fate_is_mentioned_that_does_not_exist(path: Path) -> None:
    mentioned = re.findall(r"`((?:frame|byte|record)\.[a-z_]+)`", path.read_text())
    fields_of_records = {f"record.{name}" for name in (*(field.name for field in fields(Record)), "by")}
    assert set(mentioned) - {"frame.comment"} <= FATES.keys() | fields_of_records  # the exception is Wireshark's


def test_every_reason_is_documented_with_its_sentence() -> None:
    reasons = summary.WHY | steps.WHY
    assert len(reasons) == len(summary.WHY) + len(steps.WHY), "one code must not have two meanings"
    assert rows(section(JSON, "why")) == [[f"`{code}`", sentence] for code, sentence in reasons.items()]


def test_there_is_advice_for_every_reason() -> None:
    advised = names(section(REPLAY, "Why is my flow not offloaded?"))
    assert {name for name in advised if name in summary.WHY | steps.WHY} == summary.WHY.keys() | steps.WHY.keys()


def test_every_setting_is_documented_with_its_default() -> None:
    told = {"name", "ciphers", "versions", "commands"}
    default = {name: str(value) for name, value in PROFILES["connectx-6dx"].printed().items() if name not in told}
    documented = {row[0].strip("`"): row[1] for row in rows(section(REPLAY, "Settings"))}
    assert documented == default
    assert default.keys() == {field.name for field in fields(Profile)} - told


def test_defaults_are_the_same_in_all_profiles() -> None:
    told = {"name", "ciphers", "versions", "commands"}
    printed = [{n: v for n, v in each.printed().items() if n not in told} for each in PROFILES.values()]
    assert all(each == printed[0] for each in printed)


def test_every_profile_and_policy_is_documented() -> None:
    text = section(REPLAY, "Profiles")
    profiles, policies = text[: text.index("### Policies")], section(text, "Policies")
    assert names(profiles) == list(PROFILES)
    for row in rows(profiles):
        assert sorted(filter(None, row[2].split(", "))) == sorted(PROFILES[row[0].strip("`")].commands)
    assert names(policies) == list(POLICIES)


def test_every_option_of_replay_is_documented_and_no_other() -> None:
    shown = typer.testing.CliRunner().invoke(app, ["replay", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.output)
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", plain))
    documented = {name.split()[0] for name in names(section(REPLAY, "Options")) if name.startswith("--")}
    assert "--keys" in options
    assert options == documented


def test_every_option_of_the_library_is_documented_with_its_default() -> None:
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows(section(LIBRARY, "Starting a run"))}
    options = ReplayOptions()
    assert documented == {
        field.name: repr(getattr(options, field.name)).replace("'", '"') for field in fields(ReplayOptions)
    }


def test_every_field_of_a_record_is_documented() -> None:
    text = section(LIBRARY, "A record")
    described, told = text.split("`record.by`", 1)
    assert names(described)[: len(fields(Record))] != []
    assert [row[0].strip("`") for row in rows(described)] == [*(field.name for field in fields(Record)), "by"]
    told_by = {(row[0].strip("`"), row[1].strip("`")) for row in rows(told)}
    assert {by for by, _ in told_by} == {each.value for each in By}
    assert {each for _, each in told_by} == {each.value for each in RecordClass} - {"unknown", "unjudged"}


def column_rows(columns: dict[str, Column]) -> list[list[str]]:
    """A table's columns as docs/run.md shows them."""
    shown = []
    for name, column in columns.items():
        kind = "timestamp, ns, UTC" if column.type == "timestamp" else column.type
        kind += f", {column.unit}" if column.unit and column.type != "timestamp" else ""
        shown.append([f"`{name}`", kind + (", or null" if column.null else ""), column.meaning])
    return shown


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_a_run_is_documented_with_its_type(table: str) -> None:
    columns = TABLES[table]
    assert rows(section(RUN, table))[: len(columns)] == column_rows(columns)


def test_every_event_and_verdict_is_documented() -> None:
    events = [row[0].strip("`") for row in rows(section(RUN, "resync"))[len(TABLES["resync"]) :]]
    assert sorted(events) == sorted([*Happening, *HostAction])
    verdicts = [row[0].strip("`") for row in rows(section(RUN, "frames"))[len(TABLES["frames"]) :]]
    assert verdicts == [*VERDICTS, SEVERAL]


def test_every_column_of_the_table_is_documented() -> None:
    output = command(f"rxtls replay {EXAMPLE}.pcap --keys {EXAMPLE}.keys")[0].splitlines()
    heads = [re.split(r"\s{2,}", line.strip()) for line in output if re.match(r"(flow|seen at)\s{2,}", line)]
    assert len(heads) == 2
    shown = {name for head in heads for name in head}
    assert shown == set(names(section(REPLAY, "The table")))
    assert f"the first {MAX_ROWS} of them" in REPLAY


def test_every_kind_of_evidence_for_the_vantage_is_documented_in_order() -> None:
    assert names(section(REPLAY, "Vantage, and why totals are split")) == list(KINDS)


def test_the_grammar_of_the_filter_is_the_filters_own() -> None:
    assert f"```text\n{GRAMMAR}```\n" in section(REPLAY, "The filter")


def test_bounds_are_those_of_the_code() -> None:
    text = section(REPLAY, "Limits and bounds")
    bounds = {row[0]: row[1] for row in rows(text)}
    assert bounds["bytes held behind a gap"] == f"{GAP_BYTES >> 10} KiB or {GAP_NS // 10**9} s of capture time"
    assert bounds["handshake, one connection"] == f"{session.HANDSHAKE >> 10} KiB"
    assert bounds["plaintext before TLS"] == f"{preamble.LIMIT >> 10} KiB"
    assert bounds["waiting for the other direction"] == f"{ONE_SIDED >> 10} KiB"
    assert bounds["sessions tried where the log's entry is not known"] == f"{session.TRIALS:,} a connection"
    assert bounds["one frame"] == f"{captured.MAX_FRAME >> 20} MiB"
    assert bounds["one pcapng block"] == f"{captured.MAX_BLOCK >> 20} MiB"
    assert bounds["interfaces of one capture"] == f"{captured.MAX_INTERFACES:,}"
    assert bounds["secrets blocks of one capture"] == f"{captured.MAX_SECRETS >> 20} MiB"
    assert bounds["decompressed bytes of one capture"] == f"{compressed.MAX_DECOMPRESSED >> 30} GiB"
    assert bounds["bytes read of one key log"] == f"{MAX_KEY_LOG >> 30} GiB"
    assert bounds["malformed key log lines reported"] == f"{keylog.MAX_ERRORS:,}"


def test_every_folder_has_its_rule() -> None:
    folders = {path.parent.name for path in (ROOT / "src" / "rxtls").glob("*/__init__.py")}
    text = section((ROOT / "CONTRIBUTING.md").read_text(), "Where things live")
    assert {name.strip("/") for name in names(text)} == folders


def test_the_reading_path_exists_and_is_no_longer_than_it_says() -> None:
    text = section((ROOT / "ARCHITECTURE.md").read_text(), "Reading path")
    files = re.findall(r"^\d+\. `([a-z_/0-9]+\.py)`", text, re.MULTILINE)
    assert len(files) == len(set(files)) == 12
    lines = [len((ROOT / "src" / "rxtls" / name).read_text().splitlines()) for name in files]
    assert sum(lines) < 2_500, dict(zip(files, lines, strict=True))


# The JSON.


def flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; of a list of objects the first one's, as name[].key."""
    for key, each in value.items():
        yield prefix + key, each
        if isinstance(each, dict) and key not in TAKEN_AS_ONE:
            yield from flat(each, f"{prefix}{key}.")
        elif isinstance(each, list) and each and isinstance(each[0], dict):
            yield from flat(each[0], f"{prefix}{key}[].")


def json_type(value: object) -> str:
    if isinstance(value, bool):  # before int, which it is a kind of
        return "boolean"
    return {int: "integer", float: "number", str: "string", list: "list", dict: "object", type(None): "null"}[
        type(value)
    ]


def assert_documented(title: str, value: dict[str, Any], besides: frozenset[str] = frozenset()) -> None:
    """The section's tables have all keys of `value`, each with its type, and no others."""
    documented = {row[0].strip("`"): row[1] for row in rows(section(JSON, title)) if len(row) == 3}
    real = dict(flat(value))
    assert documented.keys() == real.keys() | besides
    for key, each in real.items():
        assert json_type(each) in documented[key], f"{key} is documented as {documented[key]}"


def test_every_key_of_the_run_is_documented(run: dict[str, Any]) -> None:
    errors = frozenset({"errors[].file", "errors[].offset", "errors[].cause"})
    assert not run["errors"], "this run has none, so their keys are checked below"
    assert_documented("The run", {**run, "flows": []}, besides=errors)


def test_every_key_of_an_error_is_documented() -> None:
    broken = rxtls.replay("no-such-file.pcap")
    assert list(broken) == []
    found = dict(flat({"errors": broken.summary()["errors"]}))
    assert found.keys() == {"errors", "errors[].file", "errors[].offset", "errors[].cause"}
    assert found.keys() <= set(names(section(JSON, "The run")))


def test_every_key_of_a_flow_is_documented(run: dict[str, Any]) -> None:
    flow = run["flows"][0]
    assert_documented("A flow", {**flow, "receive": dict.fromkeys(flow["receive"])})
    assert all("or null" in row[1] for row in rows(section(JSON, "A flow")) if row[0].startswith("`receive."))


def test_every_key_of_a_direction_is_documented(run: dict[str, Any]) -> None:
    for received in run["flows"][0]["receive"].values():
        assert_documented("A direction", received)


def test_every_key_of_the_totals_is_documented(run: dict[str, Any]) -> None:
    documented = {name for row in rows(section(JSON, "Totals")) for name in re.findall("`([a-z_]+)`", row[0])}
    assert all(half.keys() == documented for half in run["totals"].values())
    received = run["flows"][0]["receive"]["server"]
    for half in run["totals"].values():
        assert all(half[group].keys() == received[group].keys() for group in ("records", "bytes", "resync"))


def test_every_end_is_documented() -> None:
    documented = {row[0].strip("`"): row[1] for row in rows(section(JSON, "A flow")) if len(row) == 2}
    assert documented.keys() == ENDS.keys() | {"close_notify"}
    for name, sentence in ENDS.items():
        assert sentence.startswith(documented[name])


def test_the_example_is_a_part_of_a_real_run(run: dict[str, Any]) -> None:
    shown = [text for language, text in blocks(ROOT / "docs" / "json.md") if language == "json"]
    assert len(shown) == 1
    assert_part(json.loads(shown[0]), json.loads(summary.to_json(run)))


def assert_part(shown: Any, real: Any, at: str = "") -> None:
    if isinstance(shown, dict):
        assert shown.keys() <= real.keys(), at
        for key, value in shown.items():
            assert_part(value, real[key], f"{at}.{key}")
    elif isinstance(shown, list):
        assert len(shown) == len(real), at
        for n, (value, other) in enumerate(zip(shown, real, strict=True)):
            assert_part(value, other, f"{at}[{n}]")
    else:
        assert shown == real, at


# Examples.


def python_examples() -> Iterator[Any]:
    for path in WITH_PYTHON:
        found = blocks(path)
        for n, (language, code) in enumerate(found):
            if language == "python":
                after = found[n + 1] if n + 1 < len(found) else ("", "")
                yield pytest.param(code, after[1] if after[0] == "text" else None, id=f"{called(path)}-{n}")


@pytest.mark.parametrize(("code", "printed"), list(python_examples()))
def test_python_examples_run_and_print_what_they_say(code: str, printed: str | None) -> None:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "example", "exec"), {"__name__": "example"})
    assert output.getvalue()
    assert printed is None or output.getvalue() == printed


def test_the_library_has_examples() -> None:
    assert sum(language == "python" for language, _ in blocks(ROOT / "docs" / "library.md")) >= 3


def command(line: str) -> tuple[str, int]:
    """Output and exit status of a command as a person types it, with errors told as the console script tells them."""
    program, *arguments = shlex.split(line)
    assert program == "rxtls"
    result = typer.testing.CliRunner().invoke(app, arguments, env={"COLUMNS": "160", "NO_COLOR": "1"})
    if isinstance(result.exception, RxtlsError):
        return f"rxtls: {result.exception}\n", 2
    return result.output, result.exit_code


def console_examples() -> Iterator[Any]:
    for path in DOCUMENTS:
        for n, (language, text) in enumerate(blocks(path)):
            if language == "console":
                yield pytest.param(text, id=f"{called(path)}-{n}")


@pytest.mark.parametrize("text", list(console_examples()))
def test_console_examples_print_what_they_say(text: str) -> None:
    output: list[str] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            printed, status = command(line[2:])
            assert status == 0
            output = [" ".join(each.split()) for each in printed.splitlines()]
            continue
        shown = " ".join(line.split())
        if shown.endswith("..."):
            assert any(each.startswith(shown[:-3].rstrip()) for each in output), shown
        else:
            assert shown in output


# Words and links.


@pytest.mark.parametrize("word", OWN_WORDS)
def test_our_own_words_are_in_the_glossary(word: str) -> None:
    assert re.search(rf"^- \*\*{word}\*\*", GLOSSARY, re.MULTILINE)


def test_the_glossary_explains_each_word_once() -> None:
    entries = re.findall(r"^- \*\*(.+?)\*\*", GLOSSARY, re.MULTILINE)
    assert len(entries) > 100
    assert len(entries) == len(set(entries))


@pytest.mark.parametrize("path", OURS, ids=called)
def test_tag_never_stands_alone(path: Path) -> None:
    text = re.sub(r"\s+", " ", prose(path))
    alone = re.findall(r".{0,30}(?<!AEAD )(?<!receive )(?<!Receive )(?<!VLAN )(?<!\")\b[Tt]ags?\b.{0,10}", text)
    assert alone == []


def test_the_changelog_has_this_version() -> None:
    assert f"\n## [{rxtls.__version__}] - " in (ROOT / "CHANGELOG.md").read_text()


def slug(heading: str) -> str:
    """A heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=called)
def test_every_relative_link_resolves(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        to = (path.parent / name).resolve() if name else path
        assert to.exists(), f"{target} leads nowhere"
        if anchor and to.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", to.read_text(), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{target} has no such heading"
