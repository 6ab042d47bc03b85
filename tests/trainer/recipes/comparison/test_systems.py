"""Named systems compared: ways from speech of any length to one answer, and losses with raters' votes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from tests import ROOT
from tests.trainer.baselines.tables import write_functionals
from tests.trainer.conftest import labelled_rows, rated_rows
from tests.trainer.recipes.comparison.conftest import FINETUNE, SYSTEMS, settings, with_votes
from trainer.baselines.trials import baselines
from trainer.cli import app
from trainer.data.chunking import Window
from trainer.errors import InputError
from trainer.finetuning.finetune import finetune
from trainer.models.checkpoint import load_model
from trainer.params import Params
from trainer.predict import predict
from trainer.recipes.comparison.systems import compare

Make = Callable[..., Path]
Tiny = Callable[..., Params]


def test_systems_share_folds_and_meet_the_functionals(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    rows, reports, cache = labelled_rows(), tmp_path / "reports", tmp_path / "cache"
    shards, (params, recipe) = make_shards("labelled", rows), settings(tiny)
    baselines(shards, write_functionals(tmp_path / "functionals", rows), reports, params, cache=cache)
    before, done = {path.name for path in reports.iterdir()}, []
    table = compare(shards, tmp_path / "models", reports, params, recipe, cache=cache)
    networks = table[table["parameters"].notna()]
    assert list(networks["system"]) == list(SYSTEMS)
    assert {"svm-rbf egemaps", "majority"} <= set(table["system"][len(networks) :])  # baselines last
    assert list(networks["length"]) == ["dynamic", "dynamic", "pad", "crop"]
    assert (networks[["parameters", "milliseconds"]] > 0).all(axis=None)
    assert table["difference"].isna().tolist() == [True] + [False] * (len(table) - 1)
    assert (table["p_holm"].dropna() >= table["p"].dropna()).all()
    assert set(table["conclusion"]) == {"", "too few pairs"}

    # on whole utterances a model read back says what it said when it was trained
    runs = pd.read_parquet(reports / "sequence_runs.parquet").set_index(["mode", "fold", "seed"])
    lengths = pd.read_parquet(reports / "sequence_lengths.parquet")
    assert lengths.groupby(["mode", "fold", "seed"])["share"].apply(list).map(len).eq(4).all()
    whole = lengths[lengths["share"] == 1].set_index(["mode", "fold", "seed"])
    np.testing.assert_allclose(whole["macro_f1"], runs.loc[whole.index, "macro_f1"])
    np.testing.assert_allclose(networks["at_100"], networks["macro_f1_mean"])
    text = (reports / "sequence.md").read_text()
    assert all(name in text for name in (*SYSTEMS, "svm-rbf compare", "Holm", "25 %"))
    assert (reports / "sequence.png").stat().st_size > 10_000

    stage = yaml.safe_load((ROOT / "recipes/sequence/dvc.yaml").read_text())["stages"]["sequence"]
    assert {Path(name).name for name in stage["outs"]} == {path.name for path in reports.iterdir()} - before | {
        "sequence"
    }

    # the first system is fine-tuning's scratch, and nothing is trained twice
    one = params.model_copy(update={"finetune": params.finetune.model_copy(update={"modes": ("scratch",)})})
    finetune(shards, "none", tmp_path / "m", tmp_path / "r", one, cache=cache, on_start=lambda *n: done.append(n))
    compare(shards, tmp_path / "models", reports, params, recipe, cache=cache, on_start=lambda *n: done.append(n))
    assert done == [(2, 2), (8, 8)]


def test_models_read_back_and_predict_new_shards(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    finetuning = {"objective": "attribute", "target": "arousal"}
    params, recipe = settings(tiny, finetune=FINETUNE | finetuning, sequence={"cut": "beginning"})
    models = tmp_path / "models"
    table = compare(make_shards("labelled", rated_rows()), models, tmp_path / "r", params, recipe, cache=tmp_path / "c")
    assert set(table["measure"]) == {"ccc"}
    assert table[["at_25", "at_100"]].notna().all(axis=None)
    fresh = make_shards("fresh", labelled_rows("new", speakers=("n",), seed=5))
    index = json.loads((models / "index.json").read_text())
    assert len(index) == 2 * len(SYSTEMS)
    for entry in index:
        loaded = load_model(models / entry["folder"])
        assert loaded.spec.encoder.length == SYSTEMS[entry["mode"]].get("length", "dynamic")
        assert isinstance(loaded.spec.chunking, Window) == (entry["mode"] in ("pad", "crop"))
        assert predict(fresh, models / entry["folder"], cache=tmp_path / "c2")["arousal"].notna().all()
    heard = load_model(models / "toy/crop/fold_1_seed0").spec.chunking
    assert (heard.frames, heard.count) == (12, 1)  # 0.6 s of 50 ms


def test_padding_says_the_same_of_an_utterance_whatever_it_is_padded_to(make_shards: Make, tiny: Tiny) -> None:
    """The window of a longer corpus must add zeros that no one hears."""
    rows = labelled_rows(speakers=("a", "b"), per_class=2)
    params, _ = settings(tiny)
    from trainer.data.dataset import ChunkDataset
    from trainer.data.normalisation import Normalisation
    from trainer.data.shards import open_shards
    from trainer.models.network import Network

    folder = make_shards("labelled", rows)
    shards = open_shards(folder, cache=folder.parent / "cache")
    stats = Normalisation.fit(shards, range(len(rows)), clip=3.0)
    for chunk_encoder in ("cnn", "lstm"):
        encoder = params.encoder.model_copy(update={"chunk_encoder": chunk_encoder})
        torch.manual_seed(0)
        network = Network(len(shards.feature_names), encoder, outputs={"emotion": 3}, head_hidden=8).eval()
        said = []
        for frames in (60, 97):
            data = ChunkDataset(shards, range(8), chunking=Window(frames=frames, count=1), normalisation=stats)
            with torch.no_grad():
                said.append(network(data.__getitems__(list(range(8))))["emotion"])
        torch.testing.assert_close(said[0], said[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ({"agregator": "mean"}, r"sequence: systems\.other:\n.*encoder\.agregator: unknown key"),
        ({"length": "stretch"}, r"sequence: systems\.other:\n.*encoder\.length"),
        ({"aggregator": "mystery"}, r"sequence: systems\.other:\n.*encoder\.aggregator: .*'self_attention'"),
    ],
)
def test_a_wrong_system_is_named(
    make_shards: Make, tiny: Tiny, tmp_path: Path, system: dict[str, Any], message: str
) -> None:
    params, recipe = settings(tiny, sequence={"systems": {"other": system}})
    with pytest.raises(InputError, match=message):
        compare(
            make_shards("labelled", labelled_rows()), tmp_path / "m", tmp_path, params, recipe, cache=tmp_path / "c"
        )


def test_what_cannot_be_compared_is_refused(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    params, recipe = settings(tiny, finetune=FINETUNE | {"normalisation": "parent"})
    with pytest.raises(InputError, match="no pretrained parent"):
        compare(
            make_shards("labelled", labelled_rows()), tmp_path / "m", tmp_path, params, recipe, cache=tmp_path / "c"
        )


PENALTIES = {"none": {}, "printed": {"form": "printed"}, "pairwise": {"form": "pairwise", "alpha": 0.5, "beta": 0.0}}


@pytest.mark.parametrize("objective", ["hard", "soft", "multilabel"])
def test_losses_share_folds_and_read_back(make_shards: Make, tiny: Tiny, tmp_path: Path, objective: str) -> None:
    finetuning = {"objective": objective, "target": "emotion" if objective == "hard" else "votes"}
    params, recipe = settings(tiny, finetune=FINETUNE | finetuning, penalisation={"systems": PENALTIES})
    shards, models, reports = make_shards("labelled", with_votes(labelled_rows())), tmp_path / "m", tmp_path / "r"
    table = compare(shards, models, reports, params, recipe, cache=tmp_path / "c")
    assert list(table["system"]) == list(PENALTIES)
    assert set(table["measure"]) == {"macro_f1"}
    assert table["difference"].isna().tolist() == [True, False, False]
    stage = ROOT / "recipes/penalisation/dvc.yaml"
    outs = yaml.safe_load(stage.read_text())["stages"]["penalisation"]["outs"]
    assert {Path(name).name for name in outs} == {path.name for path in reports.iterdir()} | {"penalisation"}
    text = (reports / "penalisation.md").read_text()
    assert all(name in text for name in PENALTIES)
    assert "per cent" not in text  # nothing was cut or timed
    index = json.loads((models / "index.json").read_text())
    assert len(index) == 2 * len(PENALTIES)
    fresh = make_shards("fresh", labelled_rows("new", speakers=("n",), seed=5))
    config = {}
    for entry in index:
        loaded = load_model(models / entry["folder"])
        config[entry["mode"]] = loaded.config["params"]["finetune"]["penalty"]["form"]
        assert len(predict(fresh, models / entry["folder"], cache=tmp_path / "c2")) == 12
    assert config == {"none": "none", "printed": "printed", "pairwise": "pairwise"}


def test_a_penalty_without_votes_or_with_a_wrong_key_is_named(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    params, recipe = settings(tiny, penalisation={"systems": PENALTIES})
    shards = make_shards("labelled", labelled_rows())
    with pytest.raises(InputError, match="needs votes of every class"):
        compare(shards, tmp_path / "m", tmp_path / "r", params, recipe, cache=tmp_path / "c")
    params, wrong = settings(tiny, penalisation={"systems": {"odd": {"gamma": 1.0}}})
    with pytest.raises(InputError, match=r"penalisation: systems\.odd:\n.*finetune\.penalty\.gamma: unknown key"):
        compare(shards, tmp_path / "m", tmp_path / "r", params, wrong, cache=tmp_path / "c")


def test_the_command(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    params, recipe = settings(tiny, finetune=FINETUNE | {"epochs": 1}, sequence={"shares": [0.5, 1.0]})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    options = {"recipe": tmp_path / "recipe.yaml",
        "shards": make_shards("labelled", labelled_rows()), "out": tmp_path / "m", "reports": tmp_path / "r",
        "params": tmp_path / "params.yaml", "cache": tmp_path / "c", "workers": 2,
    }  # fmt: skip
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    result = CliRunner().invoke(app, ["sequence", *arguments])
    assert result.exit_code == 0, result.output
    assert all(name in result.output for name in SYSTEMS)
