"""tools/mutate.py counts: what the tests did not fail on is never taken for noticed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from mutate import KILLED, SURVIVED, TIMED_OUT, UNKNOWN, UNREACHED, fates_of, report

# Exit statuses as mutmut keeps them: pytest's, its own, and signals.
ENDED = {
    "rxtls.host.flow.xa__mutmut_1": (1, KILLED),
    "rxtls.host.flow.xa__mutmut_2": (3, KILLED),
    "rxtls.host.flow.xa__mutmut_3": (0, SURVIVED),
    "rxtls.host.late.xb__mutmut_1": (33, UNREACHED),
    "rxtls.host.late.xb__mutmut_2": (5, UNREACHED),
    "rxtls.device.lro.xc__mutmut_1": (-24, TIMED_OUT),
    "rxtls.device.lro.xc__mutmut_2": (36, TIMED_OUT),
    "rxtls.offload.mbuf.xd__mutmut_1": (None, UNKNOWN),
    "rxtls.offload.mbuf.xd__mutmut_2": (2, UNKNOWN),
    "rxtls.offload.mbuf.xd__mutmut_3": (-11, UNKNOWN),
}


def test_only_failures_and_tests_without_end_are_noticed() -> None:
    fates = fates_of([*ENDED, "rxtls.x.y.xe__mutmut_1"], {name: status for name, (status, _) in ENDED.items()})
    assert fates == {name: fate for name, (_, fate) in ENDED.items()} | {"rxtls.x.y.xe__mutmut_1": UNKNOWN}
    table, share = report(fates)
    assert share == 100 * 4 / 11
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()[1:]}
    assert rows["host/"] == ["2", "0", "1", "2", "0", "40.0", "%"]
    assert rows["host.flow"] == ["2", "0", "1", "0", "0", "66.7", "%"]
    assert rows["device/"] == ["0", "2", "0", "0", "0", "100.0", "%"]
    assert rows["offload/"] == ["0", "0", "0", "0", "3", "0.0", "%"]
    assert list(rows)[-1] == "all"
