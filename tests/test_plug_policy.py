"""Policies and profiles of other people's: what works, and what each fault of theirs says in one line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import typer.testing

from rxtls.cli import complete
from rxtls.cli.app import app
from rxtls.device.profiles import PROFILES, Latency, as_toml, profile
from rxtls.errors import GuestError, UsageError
from rxtls.offload.commands import Report
from rxtls.offload.policies import policy
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay

ROOT = Path(__file__).parents[1]
EXAMPLE = str(ROOT / "examples" / "loss-reorder-tls13-aes256gcm")
DOCUMENT = (ROOT / "docs" / "your-nic.md").read_text()
PATIENT = re.search(r"```python\n(.*?class Patient.*?)```", DOCUMENT, re.DOTALL)


@pytest.fixture
def patient(tmp_path: Path) -> str:
    assert PATIENT
    assert len(PATIENT[1].splitlines()) < 40
    (tmp_path / "patient.py").write_text(PATIENT[1])
    return f"{tmp_path}/patient.py:Patient"


def replayed(policy_name: str = "linux-sync", profile_name: str = "ideal", engine: str = "auto") -> Replay:
    options = ReplayOptions(profile=profile_name, policy=policy_name, digest=True, engine=engine)
    run = Replay(f"{EXAMPLE}.pcap", f"{EXAMPLE}.keys", options)
    assert sum(1 for _ in run) > 200
    return run


def received(run: Replay) -> dict[str, object]:
    found: dict[str, object] = run.summary()["flows"][0]["receive"]["server"]
    return found


def test_the_documents_policy_works_in_both_engines_and_takes_no_byte(patient: str) -> None:
    mine, plain, sync = (received(replayed(name, engine=e)) for name, e in ((patient, "auto"), (patient, "plain"), ("linux-sync", "auto")))  # fmt: skip # noqa: E501
    assert mine == plain
    assert mine["sha256"] == sync["sha256"]
    assert mine["resync"]["confirms"] > 0  # type: ignore[index]


def invoke(*arguments: str) -> tuple[int, str, str]:
    done = typer.testing.CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})
    error = done.exception
    if isinstance(error, UsageError | GuestError):
        return 2, done.output, str(error)
    assert error is None or isinstance(error, SystemExit), error
    return done.exit_code, done.output, ""


WRONG = """
from rxtls.offload.commands import Confirm, Query, SetPosition
class Base:
    needs = {"guess", "confirm"}
    listening = False
    def report(self, epoch, report): return []
    def answer(self, answer): return []
    def stand(self, epoch, standing): return []
class Raises(Base):
    def report(self, epoch, report): raise KeyError("no such\\nplace")
class None_(Base):
    def report(self, epoch, report): return None
class NoCommand(Base):
    def report(self, epoch, report): return [(1, 2)]
class Negative(Base):
    def report(self, epoch, report): return [Confirm(epoch, -1, 0)]
class Unneeded(Base):
    def report(self, epoch, report): return [Query(epoch)]
class NeedsMore(Base):
    needs = {"telepathy"}
class Dumb:
    needs = {"guess"}
class Cannot(Base):
    def __init__(self): raise RuntimeError("not today")
class Listens(Base):
    @property
    def listening(self): raise OSError("deaf")
class WrongNumber(Base):
    def report(self, epoch, report):
        return [Confirm(epoch, report.tcp_sn, report.number + 1)] if report.length else []
    def __init__(self): self.kept = [1]
nothing = 5
"""


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    (tmp_path / "wrong.py").write_text(WRONG)
    return f"{tmp_path}/wrong.py"


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("Raises", r"KeyError: 'no such\\nplace' \(wrong.py line 10\)"),
        ("None_", "it gave back NoneType, not a list of commands"),
        ("NoCommand", r"it gave back '\(1, 2\)', which is no command"),
        ("Negative", r"it gave back 'Confirm\(epoch=1, tcp_sn=-1, number=0\)', which is no command"),
        ("Unneeded", "it posted a query, which is not in its needs"),
        ("Listens", r"OSError: deaf \(wrong.py line \d+\)"),
    ],
)
@pytest.mark.parametrize("engine", ["auto", "plain"])
def test_what_a_policy_does_wrong_in_a_run_is_one_line(name: str, cause: str, engine: str, wrong: str) -> None:
    given = [
        "replay",
        f"{EXAMPLE}.pcap",
        "--keys",
        f"{EXAMPLE}.keys",
        "--policy",
        f"{wrong}:{name}",
        "--engine",
        engine,
    ]
    status, _, error = invoke(*given)
    assert status == 2
    at = r"flow 0 side [01], \S+/loss-reorder-tls13-aes256gcm.pcap frame \d+"
    assert re.fullmatch(rf"policy \S+wrong.py:{name}: {at}: {cause}; last told: (Report|nothing).*", error), error


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("wrong.py:NeedsMore", "needs is a set of confirm, guess, query, set_position; last told: nothing yet"),
        ("wrong.py:Dumb", "it has no report, no answer, no stand, no listening; last told: nothing yet"),
        ("wrong.py:Cannot", r"RuntimeError: not today \(wrong.py line \d+\); last told: nothing yet"),
        ("wrong.py:Nobody", "there is no such class"),
        ("wrong.py:nothing", "there is no such class"),
        ("nowhere.py:X", "there is no such file"),
        ("no_such_module:X", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("broken.py:X", r"SyntaxError: .*"),
        ("exits.py:X", "SystemExit: 3 .*"),
    ],
)
def test_a_policy_that_cannot_be_is_one_line(name: str, cause: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "exits.py").write_text("raise SystemExit(3)")
    full = f"{tmp_path}/{name}" if ".py" in name else name
    with pytest.raises((UsageError, GuestError)) as caught:
        policy(full)
    assert re.fullmatch(f"policy {re.escape(full)}: {cause}", str(caught.value)), str(caught.value)


def test_explore_finds_a_wrong_policy_and_tells_of_one_that_raises(wrong: str) -> None:
    status, out, _ = invoke("explore", "--policy", f"{wrong}:WrongNumber", "--states", "4000", "--jobs", "1")
    assert status == 1
    assert "wrong record number" in out
    status, _, error = invoke("explore", "--policy", f"{wrong}:Raises", "--states", "400", "--jobs", "1")
    assert status == 2
    assert "KeyError" in error


def test_explore_takes_a_profile(patient: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(LEAST.replace('"query"', '"guess"') + "search_after = 40\n")
    mine = str(tmp_path / "mine.toml")
    few = ("--states", "400", "--jobs", "1", "--profile", mine)
    _, out, _ = invoke("explore", "--policy", patient, *few)
    assert all(name in out for name in ("tls13", "key update", "new leaf"))
    assert "tls12" not in out
    _, out, _ = invoke("explore", *few)
    assert [name for name in ("linux-sync", "none", "linux-async", "freebsd-table") if name in out] == [
        "linux-sync",
        "none",
    ]
    status, _, error = invoke("explore", "--policy", "freebsd-table", *few)
    assert (status, error) == (2, "policy freebsd-table needs query of the NIC, which mine has not")
    status, _, error = invoke("explore", "--profile", "none")
    assert (status, error) == (2, "profile none takes no AES-GCM, which is all that is explored")


def test_compare_and_simulate_take_one(patient: str) -> None:
    assert invoke("simulate", "--policy", patient, "--records", "20", "--loss", "1")[0] == 0
    given = ("--policy", patient, "--policy", "none")
    status, out, _ = invoke("compare", f"{EXAMPLE}.pcap", "--keys", f"{EXAMPLE}.keys", *given)
    assert (status, "patient" in out, "same plaintext" in out) == (0, True, True)


def test_packages_bring_policies_by_entry_points(tmp_path: Path, patient: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "somebodys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rxtls.policies]\npatience = patient:Patient\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "patient", raising=False)
    assert policy("patience")().report(1, Report(5, 30, 2)) == []
    assert "patience" in complete.policies("pat")
    assert "patience" in invoke("replay", "--help")[1]
    with pytest.raises(UsageError, match=r"none, patience$"):
        policy("impatience")


def test_files_are_offered_for_a_name_that_was_begun(patient: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("")
    assert complete.policies(f"{tmp_path}/p") == [patient.partition(":")[0]]
    assert complete.profiles(f"{tmp_path}/") == [f"{tmp_path}/x.toml"]


# Profiles.

LEAST = 'ciphers = ["AES_GCM"]\nversions = ["TLS13"]\ncommands = ["query", "confirm"]\n'


@pytest.mark.parametrize("name", list(PROFILES))
def test_a_profile_that_is_shown_is_read_back_the_same(name: str, tmp_path: Path) -> None:
    for settings in ({}, {"poll": "3,7us", "install": "12", "start": "search", "max_receive_tags": "9"}):
        chosen = profile(name, settings)
        (tmp_path / "x.toml").write_text(as_toml(chosen))
        assert profile(str(tmp_path / "x.toml")) == chosen
    status, out, _ = invoke("profile", "show", name)
    (tmp_path / "x.toml").write_text(out)
    assert (status, profile(str(tmp_path / "x.toml"))) == (0, profile(name))


def test_the_profiles_are_listed() -> None:
    status, out, _ = invoke("profile", "list")
    assert (status, [line.split()[0] for line in out.splitlines()]) == (0, list(PROFILES))


def test_the_documents_profile_is_one(tmp_path: Path) -> None:
    shown = re.search(r"```toml\n(ciphers.*?)```", DOCUMENT, re.DOTALL)
    assert shown
    (tmp_path / "mine.toml").write_text(shown[1])
    chosen = profile(str(tmp_path / "mine.toml"), {"budget": "8"})
    assert (chosen.name, chosen.poll, chosen.search_after, chosen.budget) == ("mine", Latency(16, 100), 16406, 8)
    assert replayed("freebsd-table", str(tmp_path / "mine.toml")).summary()["settings"]["search_after"] == 16406


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "ciphers is missing"),
        ('ciphers = ["AES_GCM"]\nversions = []\n', "commands is missing"),
        (LEAST + "budget = 0\n", "budget is a whole number from 1, not '0'"),
        (LEAST + 'budget = "8"\n', "budget is a whole number, not the text '8'"),
        (LEAST + "budget = true\n", "budget is a whole number or a text, not True"),
        (LEAST + "budget = 1.5\n", "budget is a whole number or a text, not 1.5"),
        (LEAST + "poll = -1\n", "poll is PACKETS,MICROSECONDSus (for example 8,200us), not '-1'"),
        (LEAST + 'start = "late"\n', "start is 'programmed' or 'search', not 'late'"),
        (LEAST + "name = 5\n", "name is a text of 1 to 64 characters, not 5"),
        (LEAST + 'name = "a\\nb"\n', "name is a text of 1 to 64 characters, not 'a\\nb'"),
        (LEAST.replace("AES_GCM", "AES_CBC"), "ciphers has no 'AES_CBC'; there are AES_GCM, CHACHA20_POLY1305"),
        (LEAST.replace("TLS13", "TLS11"), "versions has no 'TLS11'; there are TLS12, TLS13"),
        (LEAST.replace('["query", "confirm"]', '"query"'), "commands is a list of names"),
        (LEAST.replace('"query"', "7"), "commands has no 7; there are query, confirm, guess, set_position"),
        (LEAST + "bugdet = 3\n", "no 'bugdet' in a profile; there are name, ciphers"),
        ("ciphers = [", "Invalid value"),
        ("\0", "Invalid statement"),
    ],
)
def test_what_is_wrong_in_a_profile_is_one_line_with_file_and_key(text: str, cause: str, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        profile(str(file))
    assert str(caught.value).startswith(f"{file}: {cause}"), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.toml: No such file or directory$"):
        profile(str(tmp_path / "x.toml"))
    (tmp_path / "x.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"x\.toml: .*utf-8"):
        profile(str(tmp_path / "x.toml"))
