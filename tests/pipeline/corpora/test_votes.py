"""Rules from votes to a label."""

from __future__ import annotations

from collections import Counter

from pipeline.corpora.votes import label_from_votes


def test_rules():
    tied = {"anger": 3.0, "fear": 3.0, "neutral": 1.0}
    drawn = Counter(label_from_votes(tied, "all_inclusive", seed=f"0:{i}") for i in range(400))
    assert set(drawn) == {"anger", "fear"}
    assert min(drawn.values()) > 150
    assert label_from_votes(tied, "plurality") == label_from_votes(tied, "majority") == ""
    assert label_from_votes({"anger": 2.0, "other": 3.0}, "plurality") == ""  # "other" wins, and is no class
    assert label_from_votes({"anger": 2.0, "other": 2.0}, "majority") == ""
    assert label_from_votes({"anger": 3.0, "fear": 2.0, "neutral": 1.0}, "majority") == ""  # half is no majority
    assert label_from_votes({"anger": 4.0, "fear": 2.0, "neutral": 1.0}, "majority") == "anger"
    assert label_from_votes({}, "all_inclusive") == ""
