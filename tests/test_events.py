"""Events: words that reports use, and no plaintext where it might be logged."""

from __future__ import annotations

from dataclasses import replace

from rxtls.events import By, Record, RecordClass


def made(data: bytes) -> Record:
    return Record(
        flow=3,
        receiver="server",
        type=23,
        data=data,
        number=7,
        record_class=RecordClass.MIXED,
        tcp_seq=4_294_967_290,
        wire_length=len(data) + 22,
        frame=12,
        time_ns=1,
    )


def test_plaintext_stays_out_of_repr() -> None:
    shown = repr(made(b"attack at dawn"))
    assert "dawn" not in shown
    assert b"attack at dawn".hex() not in shown
    assert "number=7" in shown


def test_records_compare_with_their_plaintext() -> None:
    assert made(b"one") == made(b"one")
    assert made(b"one") != made(b"two")


def test_what_is_not_said_is_the_common_case() -> None:
    assert (made(b"").composition, made(b"").early_data) == ("E", False)


def test_the_words_of_reports() -> None:
    # JSON schema 1: words may be added, never changed or removed.
    assert {str(by) for by in By} >= {"device", "recrypt", "host", "library", "nobody"}
    classes = {"decrypted", "mixed", "encrypted", "failed", "unknown", "library"}
    assert {str(each) for each in RecordClass} >= classes


def test_each_class_has_one_opener() -> None:
    assert made(b"").by is By.RECRYPT
    assert {each: each.by for each in RecordClass} == {
        RecordClass.DECRYPTED: By.DEVICE,
        RecordClass.MIXED: By.RECRYPT,
        RecordClass.ENCRYPTED: By.HOST,
        RecordClass.UNJUDGED: By.HOST,
        RecordClass.FAILED: By.NOBODY,
        RecordClass.UNKNOWN: By.NOBODY,
        RecordClass.LIBRARY: By.LIBRARY,
    }


def test_a_record_without_a_type_was_opened_by_nobody() -> None:
    library = replace(made(b""), record_class=RecordClass.LIBRARY)
    assert (library.by, replace(library, type=0).by) == (By.LIBRARY, By.NOBODY)
