"""Errors read as a single line that names the file, the place and the cause."""

from __future__ import annotations

import pytest

from rxtls.errors import CaptureError, InputError, KeyLogError, RecordError, RxtlsError, UsageError


@pytest.mark.parametrize("error", [InputError, CaptureError])
def test_input_errors_name_file_place_and_cause(error: type[InputError]) -> None:
    raised = error("trace.pcap", 4096, "the packet header is cut off")
    assert str(raised) == "trace.pcap: offset 4096: the packet header is cut off"
    assert (raised.file, raised.offset, raised.cause) == ("trace.pcap", 4096, "the packet header is cut off")


def test_a_key_log_s_place_is_a_line_which_the_cause_names() -> None:
    raised = KeyLogError("keys.log", 3, "line 3: not hex")
    assert str(raised) == "keys.log: line 3: not hex"
    assert raised.offset == 3


def test_offset_zero_is_a_place_and_none_is_not() -> None:
    assert str(CaptureError("a.pcap", 0, "no magic")) == "a.pcap: offset 0: no magic"
    assert str(CaptureError("a.pcap", None, "no such file")) == "a.pcap: no such file"


def test_record_errors_carry_the_name_a_socket_would_report() -> None:
    raised = RecordError("EBADMSG", "the AEAD tag does not verify")
    assert raised.errno_name == "EBADMSG"
    assert raised.cause == "the AEAD tag does not verify"
    assert str(raised) == "EBADMSG: the AEAD tag does not verify"


@pytest.mark.parametrize("error", [UsageError, InputError, CaptureError, KeyLogError, RecordError])
def test_one_base_for_all_that_is_raised_on_purpose(error: type[RxtlsError]) -> None:
    assert issubclass(error, RxtlsError)
    assert issubclass(error, Exception)


@pytest.mark.parametrize("error", [UsageError("no policy 'x'"), CaptureError("a b.pcap", 1, "cause")])
def test_one_line(error: RxtlsError) -> None:
    assert len(str(error).splitlines()) == 1
