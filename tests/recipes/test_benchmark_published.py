"""`benchmarks/published.py`: which part of a curve counts, and what stands beside it."""

import gzip
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import published
from published import our_curves, published_curves, return_at, table

CURVE = [(39_000.0, 1.0), (40_000.0, 1.0), (42_500.0, 10.0), (50_000.0, 20.0), (52_500.0, 500.0)]


def test_a_return_is_the_mean_over_the_ten_thousand_frames_before():
    assert return_at(CURVE, 50_000) == pytest.approx(15.0)


@pytest.mark.parametrize("frames", [100_000, 30_000])
def test_what_a_curve_does_not_reach_or_tell_is_none(frames):
    assert return_at(CURVE, frames) is None


def test_the_table_sets_means_over_seeds_side_by_side(tmp_path):
    theirs = [
        {"task": "dmc_finger_spin", "method": "other", "seed": seed, "xs": [10_000, 50_000], "ys": [0, value]}
        for seed, value in enumerate((100.0, 200.0))
    ]
    (tmp_path / "dmc_proprio-other.json.gz").write_bytes(gzip.compress(json.dumps(theirs).encode()))
    lines = tmp_path / "control.jsonl"
    lines.write_text(
        "".join(json.dumps({"row": "dreamer/dmc/finger_spin", "curve": curve}) + "\n" for curve in (CURVE, CURVE[:4]))
    )
    with lines.open("a") as file:  # no control task
        file.write(json.dumps({"row": "dreamer/cartpole", "curve": CURVE}) + "\n")
    absent = tmp_path / "absent.jsonl"
    found = table(our_curves([lines, absent]), published_curves(tmp_path), [50_000, 52_500])
    assert found.splitlines() == [
        "| task | dreamer here | other |",
        "| --- | --- | --- |",
        "| finger_spin | 15 (2), 260 (1) | 150 (2), - |",
    ]


@pytest.mark.parametrize(
    ("with_curves", "message"), [(False, "has no dmc_proprio"), (True, "no control task has a line")]
)
def test_what_is_missing_is_said(tmp_path, monkeypatch, capsys, with_curves, message):
    if with_curves:
        run = {"task": "dmc_finger_spin", "method": "other", "seed": 0, "xs": [1], "ys": [0]}
        (tmp_path / "dmc_proprio-other.json.gz").write_bytes(gzip.compress(json.dumps([run]).encode()))
    monkeypatch.setattr(published, "OURS", [tmp_path / "absent.jsonl"])
    monkeypatch.setattr(sys, "argv", ["published.py", str(tmp_path)])
    with pytest.raises(SystemExit):
        published.main()
    assert message in capsys.readouterr().err
