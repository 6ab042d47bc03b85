"""The average over shares of the labels, pair by pair."""

from __future__ import annotations

import pandas as pd

from trainer.evaluation.shares import by_share


def _run(share: float, seed: int, macro_f1: float, mode: str = "scratch") -> dict[str, object]:
    return {
        "corpus": "c",
        "mode": mode,
        "fold": "1",
        "seed": seed,
        "label_fraction": share,
        "macro_f1": macro_f1,
        "objective": "hard",
    }


def test_a_pair_counts_where_every_share_of_it_is_there() -> None:
    runs = pd.DataFrame([_run(0.1, 0, 0.25), _run(0.25, 0, 0.75), _run(0.1, 1, 0.5)])
    keys = ["corpus", "mode", "fold", "seed", "label_fraction"]
    predictions = runs[keys].assign(clip_id="x")
    found = {name: (own, said) for name, own, said in by_share(runs, predictions)}
    assert list(found) == ["10 + 25 %", "10 %", "25 %"]
    both, said = found["10 + 25 %"]
    assert both["macro_f1"].tolist() == [0.5]  # of seed 0; seed 1 lacks a share
    assert both["objective"].tolist() == ["hard"]
    assert said["seed"].tolist() == ["0 at 0.1", "0 at 0.25"]
    assert found["10 %"][0]["macro_f1"].tolist() == [0.25, 0.5]
    assert len(found["25 %"][1]) == 1


def test_one_share_is_no_average() -> None:
    runs = pd.DataFrame([_run(0.1, 0, 0.25)])
    assert [name for name, _, _ in by_share(runs, runs)] == ["10 %"]
