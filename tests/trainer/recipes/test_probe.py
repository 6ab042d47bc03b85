"""The linear probe: same folds and draws for every network, nothing learnt from test rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from tests.trainer.conftest import labelled_rows, unlabelled_rows
from trainer.cli import app
from trainer.data.normalisation import Normalisation
from trainer.data.shards import open_shards
from trainer.errors import InputError
from trainer.models.checkpoint import load_model
from trainer.params import Params
from trainer.pretraining.pretrain import pretrain
from trainer.recipes.probe import compare, describe, probe, settle

Make = Callable[..., Path]
Tiny = Callable[..., Params]


@pytest.fixture
def parent(make_shards: Make, tiny: Tiny, tmp_path: Path) -> Path:
    pretrain(
        make_shards("u", unlabelled_rows()), tmp_path / "taught", tiny(pretrain={"epochs": 2}), cache=tmp_path / "c"
    )
    return tmp_path / "taught"


def test_every_network_meets_the_same_rows(make_shards: Make, tiny: Tiny, tmp_path: Path, parent: Path) -> None:
    folder, params = make_shards("l", labelled_rows()), tiny(finetune={"folds": 3, "label_fraction": 0.5})
    one = probe(folder, [parent], tmp_path / "p.csv", params, draws=2, cache=tmp_path / "c")
    assert len(one) == 3 * 3 * 2  # folds, networks (two of them random), draws
    assert one.groupby(["fold", "draw"])[["n_train", "n_test"]].nunique().eq(1).all(axis=None)
    assert one["uar"].mean() > 0.6  # chance is a third
    pd.testing.assert_frame_equal(one, pd.read_csv(tmp_path / "p.csv"))
    again = probe(folder, [parent], tmp_path / "q.csv", params, draws=2, cache=tmp_path / "c")
    pd.testing.assert_frame_equal(one, again)
    rows = compare(one).set_index("network")
    assert rows.loc["random", "difference"] == pytest.approx(0)
    taught, control = (one[one["network"].str.startswith(n)]["macro_f1"].mean() for n in ("taught", "random"))
    assert rows.loc["taught", "difference"] == pytest.approx(taught - control)
    assert rows.loc["taught", ["pairs", "folds"]].tolist() == [6, 3]


def test_the_probe_keeps_to_the_settings_of_finetune(
    make_shards: Make, tiny: Tiny, tmp_path: Path, parent: Path
) -> None:
    folder = make_shards("l", labelled_rows(signal=0.3))

    def found(**options: object) -> pd.DataFrame:
        return probe(folder, [parent], tmp_path / "p.csv", tiny(finetune={"folds": 3, **options}), cache=tmp_path / "c")

    tables = {name: found(normalisation=name).set_index("network") for name in ("train", "parent", "speaker")}
    assert all(set(table["normalisation"]) == {name} for name, table in tables.items())
    of_random = {name: table.loc[["random 0", "random 1"], "macro_f1"].tolist() for name, table in tables.items()}
    assert of_random["parent"] == of_random["train"] != of_random["speaker"]
    assert tables["parent"].loc["taught", "macro_f1"].tolist() != tables["train"].loc["taught", "macro_f1"].tolist()
    with pytest.raises(InputError, match=r"finetune\.objective hard, not soft"):
        found(objective="soft", target="votes")
    with pytest.raises(InputError, match="no corpus with two classes in column 'mood'"):
        found(target="mood")


def test_test_rows_teach_nothing(make_shards: Make, tmp_path: Path, parent: Path) -> None:
    """Features of training rows are the same whatever the test rows hold."""
    rows = labelled_rows()
    train = np.array([i for i, row in enumerate(rows) if row["speaker"] in "abcd"])
    found = []
    for name in ("as it is", "spoilt"):
        shards = open_shards(make_shards(name, rows), cache=tmp_path / name)
        normalisation = Normalisation.fit(shards, train, clip=3.0)
        torch.manual_seed(0)
        network = load_model(parent).spec.build()
        settle(network, shards, train, normalisation)
        found.append(describe(network, shards, train, normalisation))
        for row in rows:
            if row["speaker"] in "ef":
                row["features"] = (np.array(row["features"]) * 9 - 5).tolist()
    np.testing.assert_array_equal(*found)
    assert np.isfinite(found[0]).all()


@pytest.mark.parametrize("chunk_encoder", ["cnn", "lstm", "mel_cnn"])
def test_padding_has_no_influence(make_shards: Make, tiny: Tiny, tmp_path: Path, chunk_encoder: str) -> None:
    params = tiny(encoder={"chunk_encoder": chunk_encoder}, pretrain={"epochs": 1})
    pretrain(make_shards("u", unlabelled_rows()), tmp_path / "m", params, cache=tmp_path / "c")
    shards = open_shards(make_shards("l", labelled_rows()), cache=tmp_path / "c")
    network, rows = load_model(tmp_path / "m").network, np.argsort(shards.lengths)[[0, 30, -1]]
    normalisation = Normalisation.fit(shards, rows, clip=3.0)
    together = describe(network, shards, rows, normalisation)
    for position, row in enumerate(rows):
        alone = describe(network, shards, np.array([row]), normalisation)
        np.testing.assert_allclose(together[position], alone[0], rtol=1e-4, atol=1e-5)


def test_a_speaker_heard_in_pretraining_is_refused(make_shards: Make, tiny: Tiny, tmp_path: Path, parent: Path) -> None:
    rows = labelled_rows("talk", speakers=("u", "y", "z"))
    with pytest.raises(InputError, match="talk/u were heard in pretraining taught"):
        probe(make_shards("l", rows), [parent], tmp_path / "p.csv", tiny(), cache=tmp_path / "c")


def test_the_command_prints_the_comparison(make_shards: Make, tiny: Tiny, tmp_path: Path, parent: Path) -> None:
    import yaml

    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tiny().model_dump(mode="json")))
    folder = make_shards("l", labelled_rows())
    options = ["--shards", folder, "--out", tmp_path / "p.csv", "--params", tmp_path / "params.yaml"]
    result = CliRunner().invoke(app, ["probe", str(parent), *map(str, options), "--cache", str(tmp_path / "c")])
    assert result.exit_code == 0, result.output
    assert "minus random" in result.output
    assert "taught" in result.output
