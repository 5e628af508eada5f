"""The cost model: the paper's figure by its lines, its predictions by hand, and refusals by name."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rxtls.cli.app import app
from rxtls.errors import UsageError
from rxtls.study.cost import (
    ASPLOS21,
    FIGURE_11,
    GHZ,
    Line,
    against_paper,
    as_json,
    by_shares,
    calibrate,
    crypto_share,
    fitted,
    from_json,
    predict,
)
from rxtls.study.costs import costs_of

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "src" / "rxtls" / "studies" / "paper-receiver.csv"


def sums(decrypted: int, mixed: int, encrypted: int, size: int = 16384) -> Counter[str]:
    counts = {"decrypted": decrypted, "mixed": mixed, "encrypted": encrypted}
    both = {f"records.{kind}": n for kind, n in counts.items()} | {f"bytes.{k}": n * size for k, n in counts.items()}
    return Counter(both)


def test_a_line_is_found_again() -> None:
    assert fitted([(x, 100 + 0.5 * x) for x in (1.0, 10.0, 1000.0)]) == pytest.approx(Line(100, 0.5))


def test_the_paper_s_lines_are_near_its_figure() -> None:
    for kib, crypto, rest in FIGURE_11:
        assert ASPLOS21.crypto.over(1, 1024 * kib) * GHZ == pytest.approx(crypto, rel=0.07)
        assert ASPLOS21.rest.over(1, 1024 * kib) * GHZ == pytest.approx(rest, rel=0.07)


def test_predictions_by_hand() -> None:
    crypto, rest = ASPLOS21.crypto.over(1, 16384), ASPLOS21.rest.over(1, 16384)
    all_offloaded, none, mixed = predict(sums(10, 0, 0)), predict(sums(0, 0, 10)), predict(sums(0, 10, 0))
    assert all_offloaded == pytest.approx((10 * (crypto + rest), 10 * rest))
    assert none.ratio == 1
    assert mixed.offload == pytest.approx(10 * (2 * crypto + rest))
    assert mixed.saved < 0 < all_offloaded.saved
    assert all_offloaded.ratio == pytest.approx(2.5, abs=0.1)  # the paper measured 2.2 for whole applications


def test_one_number_fitted_at_no_impairment_predicts_both_tables_within_20_percent() -> None:
    with PAPER.open(newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    shares, found = against_paper(rows)
    assert {kind: round(share, 2) for kind, share in shares.items()} == {"loss": 0.53, "reorder": 0.47}
    assert [(row.impairment, row.percent) for row in found] == [
        (k, p) for k in ("loss", "reorder") for p in range(1, 6)
    ]
    assert all(abs(row.off) < 0.2 for row in found)


def test_the_share_gives_back_the_ratio_that_it_was_fitted_to() -> None:
    assert by_shares(crypto_share(1.7, 0.05, 0.1), 0.05, 0.1) == pytest.approx(1.7)


def test_this_machine_can_be_measured_and_written_down(tmp_path: Path) -> None:
    costs = calibrate(3)
    assert costs.crypto.over(1, 16384) > 0
    assert costs.rest == ASPLOS21.rest
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(as_json(costs)))
    assert costs_of(str(path)) == costs == from_json(as_json(costs))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "x", "crypto": [1], "recrypt": [1, 2]}'])
def test_a_file_that_holds_no_costs(tmp_path: Path, content: str) -> None:
    path = tmp_path / "costs.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="no costs"):
        costs_of(str(path))


def test_the_command() -> None:
    example = str(ROOT / "examples" / "loss-reorder-tls13-aes256gcm")
    result = CliRunner().invoke(app, ["cost", f"{example}.pcap", "--keys", f"{example}.keys", "--paper", str(PAPER)])
    assert result.exit_code == 0
    assert "% saved" in result.output
    assert "farthest off: 12.2 %" in result.output
