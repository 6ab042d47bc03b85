"""Targets on every frame: scaling, pooling, masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.conftest import N_FEATURES, TRACKS, dense_rows
from trainer.data.chunking import Chunking
from trainer.data.dataset import ChunkDataset
from trainer.data.normalisation import Normalisation
from trainer.data.rows import speaker_keys
from trainer.data.shards import open_shards
from trainer.data.tracks import DENSE, RECONSTRUCTION, FrameTargets, TrackScale, pool_frames
from trainer.errors import InputError
from trainer.models.network import Network
from trainer.params import EncoderParams

Make = Callable[..., Path]


@given(m=st.integers(1, 40), step=st.integers(1, 9))
def test_pooled_targets_are_the_mean_around_each_frame_vector(m: int, step: int) -> None:
    values = np.random.default_rng(m).normal(size=(2, m, 3)).astype(np.float32)
    values[0, : m // 2] = np.nan
    pooled = pool_frames(values, step)
    assert pooled.shape == (2, -(-m // step), 3)
    for j in range(pooled.shape[1]):
        window = values[:, max(0, j * step - step // 2) : j * step - step // 2 + step]
        with np.errstate(invalid="ignore"):
            expected = np.stack([w[np.isfinite(w[:, 0])].mean(0) if np.isfinite(w).any() else w[0] for w in window])
        np.testing.assert_allclose(pooled[:, j], expected, rtol=1e-4, atol=1e-5)


def test_frame_vectors_look_where_their_targets_lie() -> None:
    """A pulse in frame t moves the vector whose window holds t more than any that lies a window or more away."""
    torch.manual_seed(0)
    params = EncoderParams(widths=(8, 8), kernel=3, stride=2, hidden=4, dropout=0.0)
    encoder = Network(1, params, outputs={"one": 2}, head_hidden=0).eval().encoder.chunk_encoder
    flat, mask = torch.zeros(1, 40, 1), torch.ones(1, 40, dtype=torch.bool)
    with torch.no_grad():
        _, rest = encoder(flat, mask)
        assert rest.shape[1] == -(-40 // encoder.step) == 10
        for t in range(4, 36):
            pulse = flat.clone()
            pulse[0, t] = 5.0
            moved = (encoder(pulse, mask)[1] - rest).abs().sum(-1)[0]
            windows = pool_frames((np.arange(40) == t).astype(np.float32)[:, None], encoder.step)[:, 0]
            assert abs(int(moved.argmax()) - int(windows.argmax())) <= 1
            assert moved[windows.argmax()] > 0


def test_scale_is_fitted_on_training_rows_and_centred_by_speaker(make_shards: Make, tmp_path: Path) -> None:
    rows = dense_rows()
    folder = make_shards("unlabelled", rows, dense=TRACKS)
    shards = open_shards(folder, cache=tmp_path / "cache")
    assert "dense" not in shards.rows
    speakers = speaker_keys(shards.rows)
    train = np.flatnonzero(speakers != "talk/x")
    scale = TrackScale.fit(shards, train, ["AU12"], centre="speaker", clip=3.0, speakers=speakers)
    scaled, raw = [], []
    for row in train:
        frames = np.asarray(shards.dense[shards.offsets[row] : shards.offsets[row + 1]])
        raw.append(frames[:, 1])
        scaled.append(scale.apply(frames[None], np.array([row]))[0, :, 0])
    assert np.nanstd(np.concatenate(raw)) > 20  # the faces differ far more than they move
    together = np.concatenate(scaled)
    assert np.nanmean(together) == pytest.approx(0, abs=0.02)
    assert np.nanstd(together) == pytest.approx(1, abs=0.02)
    for speaker in sorted(set(speakers[train])):
        own = np.concatenate([values for values, row in zip(scaled, train, strict=True) if speakers[row] == speaker])
        assert np.nanmean(own) == pytest.approx(0, abs=0.02)

    for row, of in zip(rows, speakers, strict=True):
        if of == "talk/x":  # held out: may be anything
            row["dense"] = (np.array(row["dense"]) * 9 - 5).tolist()
    other = open_shards(make_shards("changed", rows, dense=TRACKS), cache=tmp_path / "cache")
    same = TrackScale.fit(other, train, ["AU12"], centre="speaker", clip=3.0, speakers=speakers)
    np.testing.assert_array_equal(same.std, scale.std)


@pytest.mark.parametrize("keep_bytes", [0, 1 << 30])
def test_batches_carry_targets_where_there_are_any(make_shards: Make, tmp_path: Path, keep_bytes: int) -> None:
    rows = dense_rows()
    shards = open_shards(make_shards("unlabelled", rows, dense=TRACKS), cache=tmp_path / "cache")
    everything = np.arange(len(rows))
    scale = TrackScale.fit(
        shards, everything, ["energy", "AU12"], centre="none", clip=99.0, speakers=speaker_keys(shards.rows)
    )
    data = ChunkDataset(
        shards,
        everything,
        chunking=Chunking(frames=20, count=3),
        normalisation=Normalisation.fit(shards, everything, clip=3.0),
        frames=FrameTargets(step=4, scale=scale, reconstruct=True),
        keep_bytes=keep_bytes,
    )
    batch = data.__getitems__([0, 5])
    target = batch.targets[DENSE]
    assert target.shape == (2, 3, 5, 2)
    assert batch.targets[RECONSTRUCTION].shape == (2, 3, 5, N_FEATURES)
    assert torch.isnan(target[0]).all()  # row 0 has none
    assert torch.isnan(target[~batch.chunk_mask]).all()
    frames = np.asarray(shards.dense[shards.offsets[5] : shards.offsets[6]])[:20]
    expected = pool_frames((frames - scale.mean) / scale.std, 4)
    np.testing.assert_allclose(target[1, 0, : len(expected) - 1], expected[:-1], rtol=1e-4, atol=1e-5)
    assert torch.equal(data.truth()[DENSE].isnan()[[0, 5]], target.isnan())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda row: row.update(dense=row["dense"][:-1]), "dense targets, expected n_frames"),
        (lambda row: row["dense"].__setitem__(3, float("inf")), "dense targets hold infinity"),
    ],
)
def test_bad_targets_are_named(make_shards: Make, tmp_path: Path, spoil: Callable[..., None], message: str) -> None:
    rows = dense_rows()
    spoil(rows[7])
    with pytest.raises(InputError, match=f"{rows[7]['segment_id']}.*{message}"):
        open_shards(make_shards("unlabelled", rows, dense=TRACKS), cache=tmp_path / "cache")
