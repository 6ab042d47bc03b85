"""The tables of the recipe."""

from __future__ import annotations

import pandas as pd

from trainer.recipes.orofacial.report import markdown


def test_the_report_pairs_seeds() -> None:
    base = {"structure": "shared", "parameters": 1000, "loss": "ccc", "n_train": 1, "n_dev": 1, "n_sentences": 1}
    base |= {"n_speakers": 0, "sentences_still": 0.1}
    rows = [
        {**base, "tasks": tasks, "seed": seed, "sentences_ccc": value, "sentences_r": value,
         "sentences_velocity_error": value}
        for seed, pair in enumerate([(0.5, 0.6), (0.3, 0.42), (0.4, 0.48)])
        for tasks, value in zip(("movement", "movement+viseme"), pair, strict=True)
    ]  # fmt: skip
    words = markdown(pd.DataFrame(rows))
    assert "| shared | movement | 1,000 | .400 +- .100 |" in words
    assert "| shared | movement+viseme | +.100 +- .020 |" in words
    assert "eld-out speakers (" not in words
