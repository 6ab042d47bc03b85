"""Named systems compared: ways from speech of any length to one answer, and losses with raters' votes."""

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
from typer.testing import CliRunner

from tests import ROOT
from tests.trainer.baselines.test_trials import write_functionals
from tests.trainer.conftest import labelled_rows, rated_rows
from trainer.baselines.trials import baselines
from trainer.cli import app
from trainer.data.chunking import Window
from trainer.errors import InputError
from trainer.finetuning.finetune import finetune
from trainer.models.aggregators import AGGREGATORS
from trainer.models.checkpoint import load_model
from trainer.objectives import OBJECTIVES
from trainer.params import Params, load_params, parse_params
from trainer.predict import predict
from trainer.recipes.comparison.systems import compare

Make = Callable[..., Path]
Tiny = Callable[..., Params]
SYSTEMS: dict[str, dict[str, Any]] = {
    "gated": {},
    "attention": {"aggregator": "rnn_attention"},
    "pad": {"length": "pad"},
    "crop": {"length": "crop", "crop_seconds": 0.6, "chunk_encoder": "lstm", "lstm_layers": 1},
}
FINETUNE = {"epochs": 3, "patience": 3, "folds": 2, "keep": "all"}


def write(folder: Path, *, tiny: Tiny, **sections: Any) -> Params:
    settings: dict[str, Any] = {"finetune": FINETUNE, "report": {"resamples": 100}, "encoder": {"max_seconds": "auto"}}
    settings["sequence"] = {"systems": SYSTEMS, "timed": 5}
    return tiny(**{name: settings.get(name, {}) | sections.get(name, {}) for name in {**settings, **sections}})


def test_systems_share_folds_and_meet_the_functionals(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    rows, reports, cache = labelled_rows(), tmp_path / "reports", tmp_path / "cache"
    shards, params = make_shards("labelled", rows), write(tmp_path, tiny=tiny)
    baselines(shards, write_functionals(tmp_path / "functionals", rows), reports, params, cache=cache)
    before, done = {path.name for path in reports.iterdir()}, []
    table = compare("sequence", shards, tmp_path / "models", reports, params, cache=cache)
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
    compare("sequence", shards, tmp_path / "models", reports, params, cache=cache, on_start=lambda *n: done.append(n))
    assert done == [(2, 2), (8, 8)]


def test_models_read_back_and_predict_new_shards(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    finetuning = {"objective": "attribute", "target": "arousal"}
    params = write(tmp_path, tiny=tiny, finetune=FINETUNE | finetuning, sequence={"cut": "beginning"})
    models = tmp_path / "models"
    table = compare(
        "sequence", make_shards("labelled", rated_rows()), models, tmp_path / "r", params, cache=tmp_path / "c"
    )
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
    params = write(Path(), tiny=tiny)
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
        ({"agregator": "mean"}, r"sequence\.systems\.other:\n.*encoder\.agregator: unknown key"),
        ({"length": "stretch"}, r"sequence\.systems\.other:\n.*encoder\.length"),
        ({"aggregator": "mystery"}, "mystery"),
    ],
)
def test_a_wrong_system_is_named(
    make_shards: Make, tiny: Tiny, tmp_path: Path, system: dict[str, Any], message: str
) -> None:
    params = write(tmp_path, tiny=tiny, sequence={"systems": {"other": system}})
    with pytest.raises(InputError, match=message):
        compare(
            "sequence", make_shards("labelled", labelled_rows()), tmp_path / "m", tmp_path, params, cache=tmp_path / "c"
        )


def example(page: str) -> str:
    """The Python block of a page of docs."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[0]


def test_an_aggregator_and_a_loss_of_ones_own_are_what_the_pages_say(
    make_shards: Make, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AGGREGATORS, "_entries", dict(AGGREGATORS._entries))
    monkeypatch.setattr(OBJECTIVES, "_entries", dict(OBJECTIVES._entries))
    exec(compile(example("sequence.md"), "sequence.md", "exec"), {"__name__": "peak"})
    exec(compile(example("penalisation.md"), "penalisation.md", "exec"), {"__name__": "soft_ce"})
    finetuning = FINETUNE | {"objective": "soft_ce", "target": "votes", "seeds": [0]}
    params = write(tmp_path, tiny=tiny, finetune=finetuning, sequence={"systems": {"peak": {"aggregator": "peak"}}})
    shards = make_shards("labelled", with_votes(labelled_rows()))
    table = compare("sequence", shards, tmp_path / "m", tmp_path / "r", params, cache=tmp_path / "c")
    assert table["kl_mean"].notna().all()
    folder = tmp_path / "m" / json.loads((tmp_path / "m/index.json").read_text())[0]["folder"]
    assert load_model(folder).spec.encoder.aggregator == "peak"
    assert len(predict(shards, folder, cache=tmp_path / "c2")) == len(labelled_rows())
    params = write(tmp_path, tiny=tiny, finetune={"objective": "sort"})
    with pytest.raises(InputError, match=r"unknown objective 'sort'; known: attribute, hard, multilabel, soft"):
        compare("sequence", shards, tmp_path / "m", tmp_path / "r", params, cache=tmp_path / "c")


def test_what_cannot_be_compared_is_refused(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    params = write(tmp_path, tiny=tiny, finetune=FINETUNE | {"normalisation": "parent"})
    with pytest.raises(InputError, match="no pretrained parent"):
        compare(
            "sequence", make_shards("labelled", labelled_rows()), tmp_path / "m", tmp_path, params, cache=tmp_path / "c"
        )
    for wrong in ({"systems": {}}, {"systems": {"a/b": {}}}, {"shares": [0.0, 1.0]}, {"cut": "end"}, {"share": [1]}):
        with pytest.raises(InputError, match="sequence"):
            parse_params({"sequence": wrong})


def test_the_systems_of_params_yaml_are_the_default() -> None:
    shipped = load_params(ROOT / "params.yaml")
    assert shipped.sequence == Params().sequence
    assert shipped.penalisation == Params().penalisation


PENALTIES = {"none": {}, "printed": {"form": "printed"}, "pairwise": {"form": "pairwise", "alpha": 0.5, "beta": 0.0}}


def with_votes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Four raters an utterance, of whom one hears the class after the true one."""
    classes = sorted({row["emotion"] for row in rows})
    after = dict(zip(classes, [*classes[1:], classes[0]], strict=True))
    return [
        {
            **row,
            **{f"votes_{name}": 3.0 * (name == row["emotion"]) + (name == after[row["emotion"]]) for name in classes},
        }
        for row in rows
    ]


@pytest.mark.parametrize("objective", ["hard", "soft", "multilabel"])
def test_losses_share_folds_and_read_back(make_shards: Make, tiny: Tiny, tmp_path: Path, objective: str) -> None:
    finetuning = {"objective": objective, "target": "emotion" if objective == "hard" else "votes"}
    params = write(tmp_path, tiny=tiny, finetune=FINETUNE | finetuning, penalisation={"systems": PENALTIES})
    shards, models, reports = make_shards("labelled", with_votes(labelled_rows())), tmp_path / "m", tmp_path / "r"
    table = compare("penalisation", shards, models, reports, params, cache=tmp_path / "c")
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
    params = write(tmp_path, tiny=tiny, penalisation={"systems": PENALTIES})
    shards = make_shards("labelled", labelled_rows())
    with pytest.raises(InputError, match="needs votes of every class"):
        compare("penalisation", shards, tmp_path / "m", tmp_path / "r", params, cache=tmp_path / "c")
    wrong = write(tmp_path, tiny=tiny, penalisation={"systems": {"odd": {"gamma": 1.0}}})
    with pytest.raises(InputError, match=r"penalisation\.systems\.odd:\n.*finetune\.penalty\.gamma: unknown key"):
        compare("penalisation", shards, tmp_path / "m", tmp_path / "r", wrong, cache=tmp_path / "c")


def test_the_command(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    params = write(tmp_path, tiny=tiny, finetune=FINETUNE | {"epochs": 1}, sequence={"shares": [0.5, 1.0]})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False))
    options = {
        "shards": make_shards("labelled", labelled_rows()), "out": tmp_path / "m", "reports": tmp_path / "r",
        "params": tmp_path / "params.yaml", "cache": tmp_path / "c", "workers": 2,
    }  # fmt: skip
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    result = CliRunner().invoke(app, ["sequence", *arguments])
    assert result.exit_code == 0, result.output
    assert all(name in result.output for name in SYSTEMS)
