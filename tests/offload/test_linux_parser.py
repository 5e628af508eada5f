from __future__ import annotations

from rxtls.offload.commands import Command, Confirm, Report, Standing
from rxtls.offload.policies.linux_parser import StreamParser


class Met(StreamParser):
    """Answers each header that it is asked of, so that one can see which these are."""

    __slots__ = ()

    def _header(self, epoch: int, tcp_sn: int, number: int) -> list[Command]:
        return [Confirm(epoch, tcp_sn, number)]


def test_a_header_is_met_once() -> None:
    parser = Met()
    assert parser.report(1, Report(100, 50, 0)) == [Confirm(1, 100, 0)]
    before_whole = Standing(((150, 1), (200, 2)), 1, 20, 170)
    assert parser.stand(1, before_whole) == [Confirm(1, 150, 1)]
    assert parser.stand(1, before_whole) == []  # another host point before the record is whole
    assert parser.report(1, Report(150, 50, 1)) == []
    assert parser.report(1, Report(200, 50, 2)) == [Confirm(1, 200, 2)]


def test_what_is_no_header_in_order_is_not_met() -> None:
    parser = Met()
    assert parser.stand(1, Standing(((150, 1),), 0, 3, 153)) == []  # three bytes of a header
    assert parser.report(1, Report(150, 0, 1)) == []  # decrypted in full again: the device's word, no header
    assert parser.report(1, Report(150, 50, 1)) == [Confirm(1, 150, 1)]
