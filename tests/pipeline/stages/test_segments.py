from __future__ import annotations

import pyarrow as pa

from pipeline.media import content_hash
from pipeline.stages.segments import _hash_all, assign_split


def test_split_keeps_speakers_whole_and_the_large_one_in_training():
    rows = [{"status": "ok", "corpus": "c", "speaker": "big", "split": None} for _ in range(80)]
    rows += [{"status": "ok", "corpus": "c", "speaker": f"s{i}", "split": ""} for i in range(20)]
    rows.append({"status": "quarantined", "corpus": "c", "speaker": "s3", "split": None})
    rows.append({"status": "ok", "corpus": "c", "speaker": "given", "split": "test"})
    table = assign_split(pa.Table.from_pylist(rows), share=0.1)
    assert table["split"][-2].as_py() is None
    found = table.to_pandas()
    split = found[found["status"] == "ok"].groupby("speaker")["split"].agg(set)
    assert split.pop("given") == {"test"}
    assert all(len(found) == 1 for found in split)
    assert split["big"] == {"train"}
    assert (found["split"] == "dev").sum() == 10


def test_a_file_that_cannot_be_read_today_is_passing_and_one_that_is_not_there_is_a_gap_of_the_manifest(
    tmp_path, monkeypatch
):
    def refuse(path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return content_hash(path)

    monkeypatch.setattr("pipeline.media.content_hash", refuse)
    _, unusable = _hash_all("x", [(name, tmp_path / name) for name in ("closed", "gone")], 2)
    assert unusable["closed"] == ("cannot be read: Permission denied", True)
    assert unusable["gone"].reason.startswith("no such file")
    assert not unusable["gone"].passing
