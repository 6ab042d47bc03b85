"""The tasks of pretraining beside the target: what is trained on, from where it starts, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.trainer.conftest import labelled_rows, unlabelled_rows
from trainer.data.shards import open_shards
from trainer.errors import InputError
from trainer.finetuning.auxiliary import Auxiliary, side_tasks
from trainer.finetuning.finetune import Context, finetune, train_run
from trainer.finetuning.parents import Parents
from trainer.finetuning.plan import plan
from trainer.models.checkpoint import load_model
from trainer.objectives import Hard
from trainer.objectives.losses import SummedLoss
from trainer.params import AuxiliaryParams, Params
from trainer.predict import predict
from trainer.pretraining.pretrain import pretrain

Make = Callable[..., Path]
Tiny = Callable[..., Params]
QUICK = {"epochs": 2, "patience": 2}


@pytest.fixture
def go_on(make_shards: Make, tiny: Tiny, tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Pretrain on tasks and fine-tune with the auxiliary settings; everything under tmp_path/<where>."""

    def go(where: str = "home", *, pretraining: dict[str, Any] | None = None, **options: Any) -> pd.DataFrame:
        params = tiny(
            pretrain={**QUICK, **(pretraining or {})}, finetune={**QUICK, "folds": 2, "seeds": [0], **options}
        )
        home = tmp_path / where
        films = make_shards("unlabelled", unlabelled_rows())
        if not (home / "pretrain").exists():
            pretrain(films, home / "pretrain", params, cache=tmp_path / "cache")
        return finetune(
            make_shards("labelled", labelled_rows()),
            home / "pretrain",
            home / "models",
            home / "reports",
            params,
            unlabelled=films,
            cache=tmp_path / "cache",
        )

    return go


def test_an_epoch_is_a_draw_of_films_then_the_labelled_rows(
    go_on: Callable[..., pd.DataFrame], make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    go_on(auxiliary={"weight": 0.5}, modes=["pretrained"])
    parent = load_model(tmp_path / "home" / "pretrain")
    films = open_shards(tmp_path / "shards" / "unlabelled", cache=tmp_path / "cache")
    auxiliary = Auxiliary(AuxiliaryParams(weight=0.5, share=0.5), films).start(parent)
    rows = np.arange(20)
    train = parent.spec.dataset(films, rows, {"emotion": rows % 3})
    own = SummedLoss({"emotion": Hard(("a", "b", "c")).loss(rows % 3, label_smoothing=0.0)}, {"emotion": 1.0})
    network = parent.network
    passes = auxiliary.each_epoch(train, parent.spec, own, seed=0, device="cpu")(network).passes
    assert [part.data is train for part in passes] == [False, True]
    assert passes[0].order is not None
    assert len(passes[0].order) == 10
    assert set(passes[0].data.rows) == set(
        auxiliary.pretext.train
    )  # the early-stopping speakers of pretraining stay out
    assert passes[0].augment == tiny().pretrain.augment  # mixup of fine-tuning would mix tracks
    batch = passes[0].data.__getitems__([0, 1, 2])
    network.eval()
    with torch.no_grad():
        scores = network(batch)
        twice_as_heavy = Auxiliary(AuxiliaryParams(weight=1.0), films).start(parent)
        doubled = twice_as_heavy.each_epoch(train, parent.spec, own, seed=0, device="cpu")(network)
        value, twice = (float(part.loss(scores, batch.targets)) for part in (passes[0], doubled.passes[0]))
    assert value > 0
    assert twice == pytest.approx(2 * value)


@pytest.mark.parametrize("pretraining", [{}, {"tasks": [], "dense": ["motion"]}])
def test_the_models_keep_the_tasks_load_back_and_predict(
    make_shards: Make, tiny: Tiny, tmp_path: Path, pretraining: dict[str, Any]
) -> None:
    rows = unlabelled_rows()
    for row in rows:  # one track that follows a feature
        row["dense"] = [float(value / 50 - 20) for value in row["features"][1::6]]
    films = make_shards("unlabelled", rows, dense={"names": ["speed"], "groups": {"motion": ["speed"]}})
    options = {**QUICK, "folds": 2, "seeds": [0], "modes": ["pretrained"], "keep": "all"}
    params = tiny(pretrain={**QUICK, **pretraining}, finetune={**options, "auxiliary": {"weight": 1.0}})
    parent, cache = tmp_path / "parent", tmp_path / "cache"
    pretrain(films, parent, params, cache=cache)
    labelled = make_shards("labelled", labelled_rows())
    runs = finetune(labelled, parent, tmp_path / "m", tmp_path / "r", params, unlabelled=films, cache=cache)
    assert set(runs["auxiliary"]) == {"weight 1, share 1"}
    assert (runs["n_unlabelled"] > 0).all()
    index = json.loads((tmp_path / "m" / "index.json").read_text())
    folder = tmp_path / "m" / index[0]["folder"]
    loaded, before = load_model(folder), load_model(parent)
    assert set(before.spec.heads) < set(loaded.spec.heads)
    assert loaded.spec.frames == (None if before.spec.frames is None else loaded.spec.frames)
    assert loaded.config["auxiliary"]["unlabelled_shards"] == before.config["data"]["shards"]
    assert {"talk/u", "talk/v", "talk/w", "talk/x"} & set(loaded.config["speakers"])  # it was trained on the films too
    predicted = predict(labelled, folder, cache=cache)
    own = pd.read_parquet(tmp_path / "r" / "predictions.parquet")
    own = own[(own["fold"] == index[0]["fold"])].set_index("segment_id")
    predicted = predicted.set_index("segment_id").loc[own.index]
    assert list(predicted["emotion"]) == list(own["predicted"])


def test_only_the_pretrained_mode_is_another_and_zero_is_off(
    go_on: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    def losses() -> pd.DataFrame:
        history = pd.read_csv(tmp_path / "home" / "reports" / "finetune_history.csv")
        return history.pivot_table(index=["fold", "epoch"], columns="mode", values="train_loss")

    modes = ["scratch", "pretrained", "frozen"]
    plain = go_on(modes=modes)
    before = losses()
    off = go_on(modes=modes, auxiliary={"weight": 0.0, "share": 2.0})
    on = go_on(modes=modes, auxiliary={"weight": 1.0})
    pd.testing.assert_frame_equal(plain, off)
    same = on["mode"] != "pretrained"
    pd.testing.assert_frame_equal(plain[same], on[same][plain.columns])
    assert (losses()["pretrained"] != before["pretrained"]).all()
    assert set(on[~same]["auxiliary"]) == {"weight 1, share 1"}
    assert on[same]["auxiliary"].isna().all()


def test_two_runs_are_bit_identical(go_on: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    def weights(where: str) -> bytes:
        return next((tmp_path / where / "models").rglob("model.safetensors")).read_bytes()

    go_on("one", modes=["pretrained"], auxiliary={"weight": 1.0})
    finished = tmp_path / "cache" / "units"
    folder = next(finished.iterdir())
    for path in finished.iterdir():
        path.rename(tmp_path / f"gone-{path.name}")
    go_on("two", modes=["pretrained"], auxiliary={"weight": 1.0})
    assert folder.exists()  # trained again, under the same key
    assert weights("one") == weights("two")


def test_no_mode_is_trained_plainly_under_the_key_of_a_side_task(
    go_on: Callable[..., pd.DataFrame], tiny: Tiny, tmp_path: Path
) -> None:
    go_on(modes=["pretrained"])
    params = tiny(finetune={**QUICK, "modes": ["pretrained"], "auxiliary": {"weight": 1.0}})
    folder, cache = tmp_path / "home" / "pretrain", tmp_path / "cache"
    labelled, films = (open_shards(tmp_path / "shards" / name, cache=cache) for name in ("labelled", "unlabelled"))
    side = side_tasks(params.finetune, films)
    with_side, plain = (plan(labelled, params, Parents.read(folder), side=tasks) for tasks in (side, {}))
    assert not {run.key for run in with_side} & {run.key for run in plain}
    for tasks, runs in (({}, with_side), (side, plain)):
        with pytest.raises(ValueError, match="was planned with another side task"):
            train_run(Context(labelled, params, tmp_path / "finished", tasks), runs[0])
    with pytest.raises(ValueError, match="go on from a pretrained parent"):
        train_run(Context(labelled, params, tmp_path / "finished", side), replace(with_side[0], parent=None))
    assert not (tmp_path / "finished").exists()


def test_what_does_not_fit_is_refused(
    go_on: Callable[..., pd.DataFrame], make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"not with pretrain\.reconstruct"):
        go_on("masked", pretraining={"tasks": [], "reconstruct": 1.0}, auxiliary={"weight": 1.0})
    go_on(modes=["pretrained"])
    params = tiny(finetune={**QUICK, "modes": ["pretrained"], "auxiliary": {"weight": 1.0}})
    parent, labelled = tmp_path / "home" / "pretrain", tmp_path / "shards" / "labelled"
    out = (tmp_path / "m", tmp_path / "r")
    with pytest.raises(InputError, match="needs the unlabelled shards"):
        finetune(labelled, parent, *out, params, cache=tmp_path / "cache")
    others = make_shards("others", unlabelled_rows(seed=5))
    with pytest.raises(InputError, match=r"was not pretrained on .*others"):
        finetune(labelled, parent, *out, params, unlabelled=others, cache=tmp_path / "cache")
