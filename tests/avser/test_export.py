"""A labelled set as a folder for Hugging Face's datasets."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from avser.export import export_dataset
from pipeline.audio import encode_flac
from pipeline.contracts import AUDIO
from pipeline.engine.packing import rows_table, write_frame
from pipeline.errors import InputError
from tests.trainer.conftest import labelled_rows, write_part

pytest.importorskip("datasets", reason="the extra hf is not installed")


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """Shards and sound of 24 utterances in two folds; the first one was quarantined and has no sound."""
    rows = labelled_rows(speakers=("a", "b"))
    for row in rows:
        row["fold"] = "2" if row["speaker"] == "b" else "1"
    write_part(tmp_path / "shards/labelled/part-000.parquet", rows)
    sound = [
        {"segment_id": row["segment_id"], "status": "ok" if number else "quarantined",
         "reason": None if number else "why",
         "sample_rate": 16000, "flac": encode_flac(np.full(1600 + number, number / 100), 16000) if number else None}
        for number, row in enumerate(rows)
    ]  # fmt: skip
    write_frame(tmp_path / "audio/labelled", rows_table(sound, AUDIO), metadata={"sample_rate": 16000})
    return tmp_path / "shards/labelled", tmp_path / "audio/labelled"


def test_parts_say_of_themselves_what_their_columns_are(tables: tuple[Path, Path], tmp_path: Path) -> None:
    shards, audio = tables
    assert export_dataset(shards, tmp_path / "hf", audio=audio) == {"fold_1": 11, "fold_2": 12}
    table = pq.read_table(tmp_path / "hf/fold_2.parquet")
    assert b"huggingface" in table.schema.metadata
    assert set(table["speaker"].to_pylist()) == {"b"}


@pytest.mark.slow
def test_load_dataset_opens_it_without_a_network(
    tables: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
    import datasets

    shards, audio = tables
    export_dataset(shards, tmp_path / "hf", audio=audio)
    loaded = datasets.load_dataset(str(tmp_path / "hf"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == {"fold_1": 11, "fold_2": 12}
    part = loaded["fold_2"]
    assert isinstance(part.features["audio"], datasets.Audio)
    assert part.features["label"].names == ["anger", "neutral", "sadness"]
    row = part.cast_column("audio", datasets.Audio(decode=False))[0]  # decoding needs torchcodec
    samples, rate = soundfile.read(BytesIO(row["audio"]["bytes"]))
    assert rate == 16000
    assert row["segment_id"].startswith("toy_b")
    assert len(samples) == 1600 + 12
    assert samples[0] == pytest.approx(0.12, abs=1e-4)


def test_shards_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="labelled"):
        export_dataset(tmp_path / "labelled", tmp_path / "hf", audio=tmp_path / "audio")
