"""Shards in, normalised chunks out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tests.trainer.conftest import FRAME_PERIOD, N_FEATURES, labelled_rows, unlabelled_rows, write_part
from trainer.data.chunking import Chunking, Window
from trainer.data.dataset import ChunkDataset, Cut
from trainer.data.normalisation import Normalisation
from trainer.data.shards import Shards, open_shards
from trainer.errors import InputError

Make = Callable[..., Path]


def _frames(row: dict[str, Any]) -> np.ndarray:
    """As the memory map holds them: 11 significant bits."""
    return np.array(row["features"], dtype=np.float16).astype(np.float32).reshape(-1, N_FEATURES)


def test_every_row_is_found_where_the_offsets_say(make_shards: Make, tmp_path: Path) -> None:
    rows = labelled_rows()
    shards = open_shards(make_shards("labelled", rows), cache=tmp_path / "cache")
    assert shards.frame_period == FRAME_PERIOD
    assert list(shards.rows["segment_id"]) == [row["segment_id"] for row in rows]
    assert "features" not in shards.rows
    for number in (0, 17, len(rows) - 1):
        start, stop = shards.offsets[number : number + 2]
        np.testing.assert_array_equal(shards.features[start:stop], _frames(rows[number]))


def test_the_map_is_built_once_and_again_when_content_changes(make_shards: Make, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = open_shards(make_shards("labelled", labelled_rows()), cache=cache)
    built = (first.place / "features.f16").stat().st_mtime_ns
    again = open_shards(make_shards("labelled", labelled_rows()), cache=cache)
    assert (again.place / "features.f16").stat().st_mtime_ns == built
    other = open_shards(make_shards("labelled", labelled_rows(seed=5)), cache=cache)
    assert other.fingerprint != first.fingerprint
    assert [path.name for path in (cache / "frames").iterdir()] == [other.place.name]  # the old one is gone


def test_sets_of_one_name_in_two_folders_do_not_drive_each_other_out(make_shards: Make, tmp_path: Path) -> None:
    one, two = (make_shards(f"{home}/labelled", labelled_rows(seed=seed)) for seed, home in enumerate(("a", "b")))
    first, second = (open_shards(folder, cache=tmp_path / "cache") for folder in (one, two))
    assert first.place != second.place
    assert first.place.is_dir()


def test_sending_shards_to_a_worker_does_not_copy_the_features(make_shards: Make, tmp_path: Path) -> None:
    shards = open_shards(make_shards("labelled", labelled_rows()), cache=tmp_path / "cache")
    assert len(shards.features)
    state = shards.__getstate__()
    assert "features" not in state
    copy = Shards(**state)
    np.testing.assert_array_equal(copy.features, shards.features)


def test_normalisation_is_fitted_on_the_given_rows_alone(make_shards: Make, tmp_path: Path) -> None:
    rows = labelled_rows()
    chosen = [0, 3, 11, 40]
    shards = open_shards(make_shards("labelled", rows), cache=tmp_path / "cache")
    stats = Normalisation.fit(shards, chosen, clip=3.0)
    frames = np.concatenate([_frames(rows[number]) for number in chosen]).astype(np.float64)
    np.testing.assert_allclose(stats.mean, frames.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(stats.std, frames.std(axis=0), rtol=1e-5)

    for number, row in enumerate(rows):  # all other rows may be anything
        if number not in chosen:
            row["features"] = (_frames(row) * 1000 + 7).ravel().tolist()
    other = open_shards(make_shards("changed", rows), cache=tmp_path / "cache")
    same = Normalisation.fit(other, chosen, clip=3.0)
    np.testing.assert_array_equal(same.mean, stats.mean)
    np.testing.assert_array_equal(same.std, stats.std)


def test_a_constant_feature_becomes_zero_and_outliers_are_clipped(make_shards: Make, tmp_path: Path) -> None:
    rows = labelled_rows(per_class=1)
    for row in rows:
        frames = _frames(row)
        frames[:, 4] = 123.5
        row["features"] = frames.ravel().tolist()
    shards = open_shards(make_shards("labelled", rows), cache=tmp_path / "cache")
    stats = Normalisation.fit(shards, np.arange(len(rows)), clip=3.0)
    frames = stats.apply(np.array([[1e9] * 4 + [123.5, -1e9]], dtype=np.float32))
    assert frames.tolist() == [[3, 3, 3, 3, 0, -3]]
    assert Normalisation.from_json(json.loads(json.dumps(stats.to_json()))).mean.tolist() == stats.mean.tolist()


def test_a_speakers_own_statistics_come_from_all_rows_of_that_speaker(make_shards: Make, tmp_path: Path) -> None:
    rows = labelled_rows(speakers=("a", "b", "c"))
    rows[1]["emotion"] = None  # unlabelled speech of a speaker is theirs all the same
    shards = open_shards(make_shards("labelled", rows), cache=tmp_path / "cache")
    of_b = [number for number, row in enumerate(rows) if row["speaker"] == "b"]
    stats = Normalisation.fit(shards, [0, 1, 2], clip=3.0, scope="speaker")
    mean, std = stats.of_rows(shards, np.array([of_b[3], 0]))
    frames = np.concatenate([_frames(rows[number]) for number in of_b]).astype(np.float64)
    np.testing.assert_allclose(mean[0], frames.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std[0], frames.std(axis=0), rtol=1e-5)
    assert not np.allclose(mean[0], mean[1])
    again = Normalisation.from_json(json.loads(json.dumps(stats.to_json())))
    assert again.scope == "speaker"

    chunking = Chunking(frames=20, count=1)
    for keep_bytes in (0, 1 << 30):
        data = ChunkDataset(shards, [0, of_b[3]], chunking=chunking, normalisation=again, keep_bytes=keep_bytes)
        (batch,) = DataLoader(data, batch_size=2, collate_fn=lambda b: b)
        start = int(chunking.starts([len(_frames(rows[of_b[3]]))])[0, 0])
        expected = np.clip((_frames(rows[of_b[3]])[start : start + 20] - mean[0]) / std[0], -3, 3)
        np.testing.assert_allclose(batch.x[1, 0, : len(expected)].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_folder_of_before_is_normalised_with_training_statistics() -> None:
    assert Normalisation.from_json({"mean": [0.0], "std": [1.0], "clip": 3.0}).scope == "train"


def test_an_utterance_normalised_by_itself_has_lost_level_and_spread(make_shards: Make, tmp_path: Path) -> None:
    rows = labelled_rows()
    frames = _frames(rows[3])
    frames[:, 2] = 5.0  # constant
    for number, changed in ((3, frames), (8, frames * 4 + 100)):
        rows[number] |= {"features": changed.ravel().tolist(), "n_frames": len(changed)}
    shards = open_shards(make_shards("labelled", rows), cache=tmp_path / "cache")
    stats = Normalisation.fit(shards, [0, 1, 2], clip=3.0, scope="utterance")
    again = Normalisation.from_json(json.loads(json.dumps(stats.to_json())))
    data = ChunkDataset(shards, [3, 8], chunking=Window(frames=len(frames), count=1), normalisation=again)
    one, two = (data[number].x[0, 0].numpy() for number in (0, 1))
    spread = frames.std(axis=0)
    wanted = (frames - frames.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    np.testing.assert_allclose(one, np.clip(wanted, -3, 3), atol=1e-3)
    np.testing.assert_allclose(two, one, atol=0.02)  # the map rounds features to 11 bits


@pytest.mark.parametrize("side", ["beginning", "middle"])
def test_of_a_cut_utterance_the_rest_is_not_looked_at(make_shards: Make, tmp_path: Path, side: Any) -> None:
    # Regression: the statistics of an utterance knew what had been cut away.
    rows = labelled_rows()
    chunking = Window(frames=200, count=1)
    whole = open_shards(make_shards("whole", rows), cache=tmp_path / "cache")
    cut = Cut(0.5, side)
    (first,), (kept,) = cut.spans(whole.lengths[[3]])
    shorter = _frames(rows[3])[first : first + kept]
    rows[3] |= {"features": shorter.ravel().tolist(), "n_frames": len(shorter)}
    alone = open_shards(make_shards("alone", rows), cache=tmp_path / "cache")
    one, two = (
        ChunkDataset(shards, [3], chunking=chunking, cut=each, normalisation=Normalisation.fit(
            shards, [0], clip=3.0, scope="utterance"
        ))[0].x
        for shards, each in ((whole, cut), (alone, Cut()))
    )  # fmt: skip
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)


@pytest.mark.parametrize("keep_bytes", [0, 1 << 30])
def test_chunks_hold_the_right_frames_and_zero_padding(make_shards: Make, tmp_path: Path, keep_bytes: int) -> None:
    rows = labelled_rows()
    shards = open_shards(make_shards("labelled", rows), cache=tmp_path / "cache")
    chunking = Chunking(frames=20, count=3)
    stats = Normalisation.fit(shards, [0, 1, 2], clip=3.0)
    picked = np.array([5, 2, 30])
    data = ChunkDataset(
        shards,
        picked,
        chunking=chunking,
        normalisation=stats,
        targets={"emotion": np.array([2, -1, 0])},
        keep_bytes=keep_bytes,
    )
    batch = next(iter(DataLoader(data, batch_size=3, collate_fn=lambda b: b)))
    assert batch.x.shape == (3, 3, 20, N_FEATURES)
    assert batch.targets["emotion"].tolist() == [2, -1, 0]
    assert (batch.x[~batch.frame_mask] == 0).all()
    for position, number in enumerate(picked):
        frames = stats.apply(_frames(rows[number]).copy())
        for chunk, start in enumerate(chunking.starts([len(frames)])[0]):
            if batch.chunk_mask[position, chunk]:
                piece = frames[start : start + 20]
                np.testing.assert_array_equal(batch.x[position, chunk, : len(piece)].numpy(), piece)
                assert int(batch.frame_mask[position, chunk].sum()) == len(piece)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda row: row.update(features=row["features"][:-1]), "feature values, expected n_frames"),
        (lambda row: row.update(features=None), "0 feature values"),
        (lambda row: row.update(features=[], n_frames=0), "at least one frame"),
        (lambda row: row["features"].__setitem__(3, float("nan")), "NaN or infinity"),
    ],
)
def test_bad_features_are_named(make_shards: Make, tmp_path: Path, spoil: Callable[..., None], message: str) -> None:
    rows = labelled_rows()
    spoil(rows[7])
    with pytest.raises(InputError, match=f"{rows[7]['segment_id']}.*{message}"):
        open_shards(make_shards("labelled", rows), cache=tmp_path / "cache")
    assert not list((tmp_path / "cache" / "frames").iterdir())  # nothing half is left


def test_bad_folders_are_named(make_shards: Make, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(InputError, match="no shards"):
        open_shards(tmp_path / "nowhere", cache=cache)
    folder = make_shards("labelled", labelled_rows())
    write_part(folder / "part-009.parquet", labelled_rows("other"), metadata={"frame_period": 0.01})
    with pytest.raises(InputError, match=r"part-009.* differs from"):
        open_shards(folder, cache=cache)
    write_part(folder / "part-009.parquet", labelled_rows("other"), metadata={"contract": 2})
    with pytest.raises(InputError, match="data contract 2"):
        open_shards(folder, cache=cache)
    (folder / "part-009.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(InputError, match="not a readable Parquet"):
        open_shards(folder, cache=cache)
    pd.DataFrame({"segment_id": ["x"]}).to_parquet(folder / "part-009.parquet")
    with pytest.raises(InputError, match="corpus, speaker, n_frames, features missing"):
        open_shards(folder, cache=cache)
    table = pq.read_table(folder / "part-000.parquet")
    pq.write_table(table, folder / "part-009.parquet")
    with pytest.raises(InputError, match="occurs twice"):
        open_shards(folder, cache=cache)


def test_null_labels_stay_none(make_shards: Make, tmp_path: Path) -> None:
    shards = open_shards(make_shards("unlabelled", unlabelled_rows()), cache=tmp_path / "cache")
    values = set(shards.rows["t1_label"])
    assert values == {"high", "low", None}


@pytest.mark.parametrize("side", ["beginning", "middle"])
@pytest.mark.parametrize("keep_bytes", [0, 1 << 30])
def test_a_cut_utterance_is_its_beginning_or_its_middle(
    make_shards: Make, tmp_path: Path, side: Any, keep_bytes: int
) -> None:
    rows = labelled_rows()
    shards = open_shards(make_shards("labelled", rows), cache=tmp_path / "cache")
    stats = Normalisation.fit(shards, [0, 1, 2], clip=3.0)
    data = ChunkDataset(
        shards, [5, 30], chunking=Window(frames=60, count=1), normalisation=stats, cut=Cut(0.25, side),
        keep_bytes=keep_bytes,
    )  # fmt: skip
    batch = data.__getitems__([1, 0])
    for position, number in enumerate((30, 5)):
        frames = _frames(rows[number])
        kept = round(len(frames) / 4)
        first = 0 if side == "beginning" else (len(frames) - kept) // 2
        expected = stats.apply(frames[first : first + kept].copy())
        assert batch.frame_mask[position].sum() == kept
        np.testing.assert_allclose(batch.x[position, 0, :kept].numpy(), expected, rtol=1e-5, atol=1e-6)
        assert (batch.x[position, 0, kept:] == 0).all()


@given(st.floats(0.01, 1), st.integers(1, 700), st.sampled_from(["beginning", "middle"]))
def test_a_cut_leaves_at_least_a_frame_and_stays_inside(share: float, length: int, side: Any) -> None:
    (first,), (kept,) = Cut(share, side).spans([length])
    assert kept >= 1
    assert 0 <= first <= first + kept <= length
    assert abs(kept - share * length) <= 0.5 or kept == 1


def test_kept_chunks_can_lie_on_another_device_while_labels_stay(make_shards: Make, tmp_path: Path) -> None:
    shards = open_shards(make_shards("labelled", labelled_rows()), cache=tmp_path / "cache")
    data = ChunkDataset(
        shards,
        [0, 1, 2],
        chunking=Chunking(frames=20, count=3),
        normalisation=Normalisation.fit(shards, [0, 1, 2], clip=3.0),
        targets={"emotion": np.array([2, -1, 0])},
    )
    before = data.__getitems__([2, 0])
    data.reside("cpu")
    after = data.__getitems__([2, 0])
    assert torch.equal(before.x, after.x)
    assert torch.equal(before.chunk_mask, after.chunk_mask)
    data.reside("meta")  # a device that every machine has, though it holds no values
    there = data.__getitems__([2, 0])
    assert {there.x.device.type, there.frame_mask.device.type, there.chunk_mask.device.type} == {"meta"}
    assert data.truth()["emotion"].tolist() == [2, -1, 0]
    assert there.targets["emotion"].tolist() == [0, 2]
