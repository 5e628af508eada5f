"""A key log that grows: each whole line once, whoever writes and whatever becomes of the file."""

from __future__ import annotations

from pathlib import Path

from rxtls.capture.tail import MOST_LINE, KeyTail


def test_whole_lines_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    tail = KeyTail(path)
    assert tail.lines() == b""  # not there yet
    path.write_bytes(b"one\ntw")
    assert (tail.lines(), tail.behind) == (b"one\n", True)
    assert tail.lines() == b""
    with path.open("ab") as one, path.open("ab") as other:  # several write
        one.write(b"o\n")
        one.flush()
        other.write(b"three\n")
    assert (tail.lines(), tail.behind) == (b"two\nthree\n", False)


def test_a_file_that_was_replaced_or_cut_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    path.write_bytes(b"a long first line\nbegun")
    tail = KeyTail(path)
    assert tail.lines() == b"a long first line\n"
    path.write_bytes(b"cut\n")
    assert tail.lines() == b"cut\n"
    (tmp_path / "new").write_bytes(b"another file\n")
    (tmp_path / "new").rename(path)
    assert tail.lines() == b"another file\n"
    path.unlink()
    assert tail.lines() == b""


def test_what_is_no_line_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    path.write_bytes(b"x" * (MOST_LINE + 1))
    tail = KeyTail(path)
    assert len(tail.lines()) == MOST_LINE + 1
    assert not tail.behind
