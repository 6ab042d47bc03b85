"""Targets on every frame: scaling, pooling, masks, losses, and a network that learns a planted track."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests import ROOT
from tests.trainer.conftest import N_FEATURES, labelled_rows, rated_rows, unlabelled_rows
from trainer.data.chunking import Chunking
from trainer.data.dataset import Batch, ChunkDataset
from trainer.data.normalisation import Normalisation
from trainer.data.rows import speaker_keys
from trainer.data.shards import open_shards
from trainer.data.tracks import DENSE, RECONSTRUCTION, VECTORS, FrameTargets, TrackScale, pool_frames
from trainer.errors import InputError
from trainer.finetuning.finetune import finetune
from trainer.models.checkpoint import load_model
from trainer.models.network import Network, cover, hidden_positions
from trainer.objectives.losses import TrackLoss, variance_loss
from trainer.params import EncoderParams, Params, load_params, parse_params
from trainer.params.changes import with_recipe
from trainer.pretraining.pretrain import pretrain
from trainer.report.report import report
from trainer.training.diagnostics import correlations

Make = Callable[..., Path]
Tiny = Callable[..., Params]
TRACKS = {"names": ["energy", "AU12"], "groups": {"energy": ["energy"], "aus": ["AU12"]}}


def dense_rows(**options: Any) -> list[dict[str, Any]]:
    """Unlabelled rows whose AU12 is what feature 3 says, around a level of the speaker's own; energy follows 4."""
    rng = np.random.default_rng(3)
    rows = unlabelled_rows(**options)
    level = {speaker: rng.normal(0, 50) for speaker in sorted({row["speaker"] for row in rows})}
    for row in rows:
        frames = np.array(row["features"]).reshape(-1, N_FEATURES)
        knots = np.arange(0, len(frames) + 8, 8)
        slow = np.interp(np.arange(len(frames)), knots, rng.normal(size=len(knots)))
        frames[:, 3] += 150 * slow
        tracks = np.stack([(frames[:, 4] - 1000) / 50, 2 * slow + level[row["speaker"]]], axis=1)
        tracks[rng.random(len(frames)) < 0.1, 1] = np.nan  # no face in these frames
        row["features"] = frames.ravel().tolist()
        row["dense"] = tracks.astype(np.float32).ravel().tolist()
    rows[0]["dense"] = None
    return rows


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


@pytest.mark.parametrize("kind", ["smooth_l1", "ccc"])
def test_missing_targets_have_no_influence(kind: str) -> None:
    torch.manual_seed(0)
    loss = TrackLoss(kind)
    guess, target = torch.randn(2, 3, 4, 2, requires_grad=True), torch.randn(2, 3, 4, 2)
    target[0, 0] = torch.nan
    value = loss(guess, target)
    value.backward()
    assert guess.grad is not None
    assert torch.isfinite(guess.grad).all()
    assert (guess.grad[0, 0] == 0).all()
    changed = guess.detach().clone()
    changed[0, 0] = 1e6
    torch.testing.assert_close(loss(changed, target), value.detach())
    nothing = loss(guess, torch.full_like(target, torch.nan))
    assert nothing.item() == 0
    nothing.backward()  # a batch without any face must not break training


def test_losses_are_the_printed_formulas() -> None:
    torch.manual_seed(1)
    x, y = torch.randn(1, 1, 50, 1), torch.randn(1, 1, 50, 1)
    a, b = x.flatten().double().numpy(), y.flatten().double().numpy()
    ccc = 2 * np.mean((a - a.mean()) * (b - b.mean())) / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    assert float(TrackLoss("ccc")(x, y)) == pytest.approx(1 - ccc, abs=1e-4)
    torch.testing.assert_close(TrackLoss()(x, y), torch.nn.functional.smooth_l1_loss(x, y))
    assert float(TrackLoss("ccc")(x, x)) == pytest.approx(0, abs=1e-4)
    assert correlations(x, y)[0] == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert correlations(torch.zeros_like(y), y) == [None]


def test_variance_loss_sees_a_collapse() -> None:
    torch.manual_seed(0)
    spread, collapsed = torch.randn(500, 8), torch.randn(500, 1) @ torch.randn(1, 8)
    assert variance_loss(spread) < 0.2 < variance_loss(collapsed)
    assert float(variance_loss(torch.zeros(4, 8))) == pytest.approx(0.99, abs=1e-3)  # floor .01 inside the root


def test_hidden_spans_hide_what_they_say() -> None:
    torch.manual_seed(0)
    mask = torch.ones(40, 3, 62, dtype=torch.bool)
    mask[0, 1, 30:] = False
    drawn, fixed = hidden_positions(mask, drawn=True), hidden_positions(mask, drawn=False)
    assert 0.2 < drawn.float().mean() < 0.4
    assert 0.2 < fixed.float().mean() < 0.4
    assert not torch.equal(drawn, hidden_positions(mask, drawn=True))
    assert torch.equal(fixed, hidden_positions(mask, drawn=False))
    assert not (drawn & ~mask).any()
    x = torch.randn(40, 3, 62, 5)
    assert (cover(x, drawn)[drawn] == 0).all()
    torch.testing.assert_close(cover(x, drawn)[~drawn], x[~drawn])


def test_reconstruction_never_sees_what_it_must_give_back() -> None:
    torch.manual_seed(0)
    params = EncoderParams(widths=(6,), kernel=3, hidden=5, dropout=0.0)
    network = Network(3, params, outputs={}, head_hidden=4, reconstruct=True).eval()
    x, frames, chunks = torch.randn(2, 2, 62, 3), torch.ones(2, 2, 62).bool(), torch.ones(2, 2).bool()
    hidden = hidden_positions(frames, drawn=False)
    noisy = torch.where(hidden.unsqueeze(-1), 50.0, x)
    one, two = network(Batch(x, frames, chunks, {})), network(Batch(noisy, frames, chunks, {}))
    torch.testing.assert_close(one[RECONSTRUCTION], two[RECONSTRUCTION], equal_nan=True)
    assert 0.2 < torch.isfinite(one[RECONSTRUCTION]).float().mean() < 0.4
    assert not torch.equal(one[VECTORS], two[VECTORS])  # the other heads hear everything


@pytest.mark.parametrize("chunk_encoder", ["cnn", "lstm"])
@pytest.mark.parametrize("dense_loss", ["smooth_l1", "ccc"])
def test_a_planted_relation_is_learnt_on_new_speakers(
    make_shards: Make, tiny: Tiny, tmp_path: Path, chunk_encoder: str, dense_loss: str
) -> None:
    folder = make_shards("unlabelled", dense_rows(per_speaker=24), dense=TRACKS)
    params = tiny(
        encoder={"chunk_encoder": chunk_encoder, "lstm_layers": 1},
        pretrain={"tasks": [], "dense": ["energy", "aus"], "dense_loss": dense_loss, "epochs": 12},
    )
    metrics = pretrain(folder, tmp_path / "model", params, cache=tmp_path / "cache")
    assert metrics["dense"]["AU12"] > 0.5
    assert metrics["dense"]["energy"] > 0.3
    assert metrics["tasks"] == {}
    assert metrics["encoder"]["frame_effective_rank"] > 1
    history = pd.read_csv(tmp_path / "model" / "history.csv")
    assert history["dev_dense_r"].iloc[-1] > history["dev_dense_r"].iloc[0]
    back = load_model(tmp_path / "model")
    assert back.config["dense"] == ["energy", "aus"]
    assert back.spec.frames is not None
    assert back.spec.frames.to_json() == json.loads((tmp_path / "model" / "config.json").read_text())["frame_targets"]
    assert back.network.frame_heads[DENSE][-1].out_features == 2


def test_all_kinds_of_targets_train_together_bit_for_bit(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    folder = make_shards("unlabelled", dense_rows(), dense=TRACKS)
    options = {"dense": ["aus"], "reconstruct": 0.5, "variance": 0.1, "epochs": 2}
    for name in ("one", "two"):
        metrics = pretrain(folder, tmp_path / name, tiny(pretrain=options), cache=tmp_path / "cache")
    assert len(metrics["tasks"]) == 3
    assert set(metrics["dense"]) == {"AU12"}
    assert -1 <= metrics["reconstruction"] <= 1
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("part", ["all", "chunk", "conv"])
def test_only_the_named_part_is_carried_over(make_shards: Make, tiny: Tiny, tmp_path: Path, part: str) -> None:
    home = tmp_path / "home"
    params = tiny(
        pretrain={"dense": ["aus"], "epochs": 1},
        finetune={"modes": ["frozen"], "folds": 2, "transfer": part, "epochs": 2},
    )
    pretrain(make_shards("u", dense_rows(), dense=TRACKS), home / "pretrain", params, cache=home / "cache")
    places = (home / "pretrain", home / "models", home / "reports")
    finetune(make_shards("l", labelled_rows()), *places, params, cache=home / "cache")
    child = load_model(home / "models" / "toy" / "frozen").network
    own, handed = child.encoder.state_dict(), load_model(places[0]).network.encoder.state_dict()
    assert not child.frame_heads
    same = {name for name in own if torch.equal(own[name], handed[name])}
    assert "chunk_encoder.convs.0.weight" in same
    assert ("chunk_encoder.out.weight" in same) == (part != "conv")
    assert ("aggregator.gate.weight" in same) == (part == "all")
    assert "chunk_encoder.norms.0.running_mean" in same  # frozen: what was carried over stays to the last bit


@pytest.mark.parametrize("aggregator", ["rnn_attention", "self_attention"])
def test_what_tracks_taught_goes_to_any_objective(
    make_shards: Make, tiny: Tiny, tmp_path: Path, aggregator: str
) -> None:
    params = tiny(
        encoder={"aggregator": aggregator},
        pretrain={"dense": ["aus"], "epochs": 3},
        finetune={"modes": ["pretrained", "frozen"], "folds": 2, "transfer": "conv", "epochs": 2,
                  "objective": "soft", "target": "votes", "normalisation": "speaker"},
    )  # fmt: skip
    home = tmp_path / "home"
    pretrain(make_shards("u", dense_rows(), dense=TRACKS), home / "pretrain", params, cache=home / "cache")
    history = pd.read_csv(home / "pretrain" / "history.csv")
    parts = [name for name in history if name.startswith("dev_") and name not in ("dev_loss", "dev_score")]
    assert len(parts) == 4  # three tasks and the tracks weigh alike
    np.testing.assert_allclose(history["dev_score"], history[parts].mean(axis=1))
    places = (home / "pretrain", home / "models", home / "reports")
    runs = finetune(make_shards("l", rated_rows()), *places, params, cache=home / "cache")
    assert set(runs["pretrain_tasks"]) == {"1+2+3+aus"}
    assert set(runs["transfer"]) == {"conv"}
    assert runs["macro_f1"].notna().all()


def test_shards_without_the_column_still_train_and_say_what_they_lack(
    make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    folder = make_shards("old", unlabelled_rows())
    assert open_shards(folder, cache=tmp_path / "c").dense.shape[1] == 0
    pretrain(folder, tmp_path / "m", tiny(pretrain={"epochs": 1}), cache=tmp_path / "c")
    assert "frame_targets" not in json.loads((tmp_path / "m" / "config.json").read_text())
    pretrain(
        folder, tmp_path / "r", tiny(pretrain={"epochs": 1, "tasks": [], "reconstruct": 1.0}), cache=tmp_path / "c"
    )
    with pytest.raises(InputError, match=r"no dense targets of group\(s\) aus .*shards\.dense\.groups"):
        pretrain(folder, tmp_path / "n", tiny(pretrain={"dense": ["aus"]}), cache=tmp_path / "c")


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


def test_nothing_to_learn_is_refused(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="unless dense or reconstruct"):
        tiny(pretrain={"tasks": []})


def test_the_report_names_what_was_taught(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    params = tiny(
        pretrain={"tasks": [], "dense": ["energy", "aus"], "reconstruct": 0.5, "monitor": "last", "epochs": 3},
        finetune={"modes": ["scratch", "pretrained"], "folds": 2, "transfer": "conv", "epochs": 2},
    )
    places = (tmp_path / "pretrain", tmp_path / "models", tmp_path / "reports")
    pretrain(make_shards("u", dense_rows(), dense=TRACKS), places[0], params, cache=tmp_path / "cache")
    assert json.loads((places[0] / "metrics.json").read_text())["best_epoch"] == 3
    runs = finetune(make_shards("l", labelled_rows()), *places, params, cache=tmp_path / "cache")
    assert set(runs["pretrain_tasks"].dropna()) == {"energy+aus+masked"}
    report(places[2], places[0], params.report)
    summary = json.loads((places[2] / "metrics.json").read_text())["pretrain"]
    assert set(summary["dense_r"]) == {"energy", "AU12"}
    page = (places[2] / "index.html").read_text()
    assert "AU12" in page
    assert "chose the epoch" not in page  # all epochs were trained


def test_recipes_on_the_page_are_those_of_params_yaml() -> None:
    """Every ``dvc exp run`` of docs/recipes.md, with its -S changes laid over params.yaml."""
    root = ROOT
    page = (root / "docs" / "recipes.md").read_text().replace("\\\n", " ")
    found = {}
    for name, changes in re.findall(r"dvc exp run -n (\w+)(.*)", page):
        raw = yaml.safe_load((root / "params.yaml").read_text())
        for quoted, plain in re.findall(r"-S (?:'([^']+)'|(\S+))", changes):
            keys, value = (quoted or plain).split("=", 1)
            *sections, key = keys.split(".")
            place = raw
            for section in sections:
                place = place[section]
            assert key in place
            place[key] = yaml.safe_load(value)
        found[name] = parse_params(raw)
    shipped = load_params(root / "params.yaml")
    assert set(found) == set(shipped.recipes)
    for name, params in found.items():
        assert params == with_recipe(shipped, name), name
    assert found["dense"] == shipped  # the default
