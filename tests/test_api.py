"""`import rxtls`: ten lines that give records, at the price of an import that costs nothing."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import replays
import rxtls
from replays import Talked, download
from rxtls.errors import KeyLogError, RxtlsError, UsageError
from rxtls.events import By, RecordClass
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.simulation.knobs import Knobs

REAL = Path(__file__).parent / "data" / "real"


@pytest.fixture(scope="module")
def plain() -> Talked:
    return download(1)


@pytest.fixture
def made(tmp_path: Path, plain: Talked) -> tuple[str, str]:
    """A capture and its key log."""
    return replays.pcap(tmp_path, plain.frames), replays.keys(tmp_path, plain)


def test_iterating_gives_records_with_all_that_was_promised(made: tuple[str, str], plain: Talked) -> None:
    run = rxtls.replay(*made)
    texts: dict[str, bytes] = {"server": b"", "client": b""}
    for record in run:
        assert type(record.flow) is int
        assert record.receiver in texts
        assert record.type in (20, 21, 22, 23)
        assert type(record.data) is bytes
        assert record.number is None or record.number >= 0
        assert record.by in ("device", "host", "recrypt", "library")
        assert isinstance(record.by, By)
        assert isinstance(record.record_class, RecordClass)
        assert plain.frames[record.frame].time_ns == record.time_ns
        assert run.place(record.frame) == {"file": made[0], "frame": record.frame + 1}
        if record.type == 23:
            texts[record.receiver] += record.data
    assert texts == {host: plain.wanted(host) for host in texts}
    received = run.summary()["flows"][0]["receive"]["client"]
    assert received["records"]["decrypted"] == 13
    assert run.errors == []


def test_names_may_be_text_or_paths_one_or_several(made: tuple[str, str], plain: Talked) -> None:
    capture, keys = made
    several: list[str | Path] = [Path(keys), keys]
    for captures in (capture, Path(capture), [capture], (Path(capture),)):
        for logs in (keys, Path(keys), [keys], several):
            records = list(rxtls.replay(captures, logs))
            assert len(records) == len(plain.client.records) + len(plain.server.records)


def test_options_are_those_of_the_command(made: tuple[str, str]) -> None:
    run = rxtls.replay(*made, profile="none", receiver="client", digest=True, settings={"budget": "3"})
    assert {record.receiver for record in run} == {"client"}
    assert {record.by for record in run} == set()  # a run is walked once
    with pytest.raises(UsageError):
        rxtls.replay(*made, profile="no such thing")
    with pytest.raises(TypeError):
        rxtls.replay(*made, profil="none")


PAIRS = 'a dictionary of text by name, such as {"name": "8"}'


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"settings": {"budget": 1}}, f"settings is {PAIRS}, not {{'budget': 1}} (dict)"),
        ({"settings": "budget=1"}, f"settings is {PAIRS}, not 'budget=1' (str)"),
        ({"sysctl": None}, f"sysctl is {PAIRS}, not None (NoneType)"),
        ({"resegment": 1448}, "resegment is text, not 1448 (int)"),
        ({"profile": []}, "profile is text, not [] (list)"),
        ({"filter": b"tcp"}, "filter is text or None, not b'tcp' (bytes)"),
        ({"interfaces": 3}, "interfaces is text or None, not 3 (int)"),
        ({"digest": "yes"}, "digest is True or False, not 'yes' (str)"),
        ({"call_size": True}, "call_size is a whole number, not True (bool)"),
        ({"call_size": 1 << 40}, "call_size is a whole number from 1 to 1048576, not 1099511627776"),
        ({"keys": None}, "keys: a file name, or several, and not NoneType"),
        ({"keys": [b"made.keys"]}, "keys: a file name, or several, and not bytes"),
    ],
)  # fmt: skip
def test_what_is_of_a_wrong_type_is_told_in_one_line(
    made: tuple[str, str], options: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        rxtls.replay(made[0], **options)  # type: ignore[arg-type]
    assert str(caught.value) == said


def test_other_ways_in_tell_wrong_types_too(made: tuple[str, str]) -> None:
    changed = ReplayOptions()
    changed.settings = 5  # type: ignore[assignment]
    wrong: list[Callable[[], object]] = [
        lambda: rxtls.replay(None),  # type: ignore[arg-type]
        lambda: rxtls.replay(b"made.pcap"),  # type: ignore[arg-type]
        lambda: Replay(made[0], made[1], changed),
        lambda: Replay(made[0], made[1], {"profile": "none"}),  # type: ignore[arg-type]
        lambda: Replay("-", stdin=io.StringIO("text")),  # type: ignore[arg-type]
        lambda: rxtls.open(None),  # type: ignore[arg-type]
        lambda: rxtls.replay(made[0]).place(0),
        lambda: Knobs(flows="2"),  # type: ignore[arg-type]
        lambda: Knobs(loss=None),  # type: ignore[arg-type]
    ]
    for each in wrong:
        with pytest.raises(UsageError) as caught:
            each()
        assert "\n" not in str(caught.value)
    one, other = Replay(made[0], made[1]), rxtls.replay([made[0]], keys=(made[1],))
    assert list(one) == list(other) != []


def test_a_key_log_given_in_place_of_its_name_is_not_shown(made: tuple[str, str]) -> None:
    for text in (Path(made[1]).read_text(), Path(made[1]).read_text().splitlines()[1]):
        with pytest.raises(UsageError) as caught:
            rxtls.replay(made[0], keys=text)
        assert str(caught.value) == "keys: a file name, or several, and not what is in the file"


def test_errors_are_of_one_family_and_one_line(made: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(KeyLogError) as caught:
        rxtls.replay(made[0], tmp_path / "absent.keys")
    assert isinstance(caught.value, RxtlsError)
    assert str(caught.value) == f"{tmp_path / 'absent.keys'}: No such file or directory"
    run = rxtls.replay(tmp_path / "absent.pcap")
    assert list(run) == []
    assert [str(error) for error in run.errors] == [f"{tmp_path / 'absent.pcap'}: No such file or directory"]


def test_the_package_has_what_it_lists() -> None:
    assert rxtls.Replay is Replay
    assert rxtls.ReplayOptions is ReplayOptions
    assert all(getattr(rxtls, name) is not None for name in rxtls.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rxtls.nothing  # noqa: B018


def test_importing_costs_neither_numpy_nor_cryptography() -> None:
    code = (
        "import sys, rxtls; rxtls.__version__; "
        "heavy = {'numpy', 'numba', 'polars', 'cryptography', 'typer', 'rich', 'rxtls.path.receive'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_trial_a17_both_directions_in_order_of_time() -> None:
    """curl and nginx, four requests over one connection: what is asked comes before what is answered."""
    name = REAL / "curl-nginx-tls13"
    said = [record.receiver for record in rxtls.replay(f"{name}.pcap", f"{name}.keys")
            if record.flow == 0 and record.data[:4] in (b"GET ", b"POST", b"HTTP")]  # fmt: skip
    assert said == ["server", "client"] * 4
    batches = rxtls.replay(f"{name}.pcap", f"{name}.keys").batches()
    frames = [int(row[12]) for batch in batches for row in batch.table() if row[0] == 0]
    assert frames == sorted(frames)
