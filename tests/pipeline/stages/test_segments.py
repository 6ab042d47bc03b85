from __future__ import annotations

import pandas as pd

from pipeline.stages.segments import assign_split


def test_split_keeps_speakers_whole_and_the_large_one_in_training():
    rows = [{"status": "ok", "corpus": "c", "speaker": "big", "split": None} for _ in range(80)]
    rows += [{"status": "ok", "corpus": "c", "speaker": f"s{i}", "split": ""} for i in range(20)]
    assign_split(rows, share=0.1)
    split = pd.DataFrame(rows).groupby("speaker")["split"].agg(set)
    assert all(len(found) == 1 for found in split)
    assert split["big"] == {"train"}
    assert sum(row["split"] == "dev" for row in rows) == 10
