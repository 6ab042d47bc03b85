"""The comparison end to end, its models read back, and the look at latent clusters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from tests import ROOT
from tests.trainer.conftest import labelled_rows, rated_rows, unlabelled_rows
from trainer.cli import app
from trainer.errors import InputError
from trainer.finetuning.finetune import finetune
from trainer.models.checkpoint import load_model
from trainer.params import ClusterParams, Params, ReportParams
from trainer.predict import predict
from trainer.recipes.cluster.latent import agreement, latent_clusters
from trainer.recipes.cluster.study import cluster
from trainer.report.report import report

Make = Callable[..., Path]
Tiny = Callable[..., Params]
MODES = ["scratch", "clustered", "clustered_both"]


@pytest.fixture
def run(make_shards: Make, tiny: Tiny, tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Cluster toy shards into tmp_path/<where>."""

    def go(
        where: str = "home", *, rows: Any = None, others: Any = None, k: int = 3, workers: int = 1, encoder: Any = None,
        **options: Any,
    ) -> pd.DataFrame:  # fmt: skip
        recipe = ClusterParams(k=k, modes=options.pop("modes", MODES))
        params = tiny(finetune={"epochs": 3, **options}, encoder=encoder or {})
        home = tmp_path / where
        return cluster(
            make_shards("labelled", rows or labelled_rows()), make_shards("unlabelled", others or unlabelled_rows()),
            home / "models", home / "reports", params, recipe, cache=home / "cache", workers=workers,
        )  # fmt: skip

    return go


def test_three_settings_on_the_same_folds_and_seeds(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    runs = run(folds=2)
    assert len(runs) == 3 * 2
    assert runs.groupby(["fold", "seed"])[["n_train", "n_dev", "n_test"]].nunique().eq(1).all(axis=None)
    by_mode = runs.groupby("mode")
    assert by_mode["n_unlabelled"].max().dropna().to_dict() == {"clustered_both": len(unlabelled_rows())}
    assert runs["clustering"].isna().equals(runs["mode"] == "scratch")
    assert runs[["pretrain_tasks", "transfer"]].isna().all(axis=None)
    assert (runs["pretrain_speakers_in_test"] == 0).all()
    reports = tmp_path / "home" / "reports"
    history = pd.read_csv(reports / "finetune_history.csv")
    clustered = history[history["mode"] != "scratch"]
    assert clustered.loc[clustered["epoch"] > 1, "cluster_nmi"].between(0, 1).all()
    assert history.loc[(history["epoch"] == 1) | (history["mode"] == "scratch"), "cluster_nmi"].isna().all()
    table, paired, _ = report(reports, tmp_path / "home" / "models", ReportParams(summary="", resamples=100))
    assert set(table["mode"]) == set(MODES)
    assert set(paired["mode"]) == set(MODES[1:])
    assert paired["n"].eq(2).all()
    assert "k 3" in table.set_index("mode").loc["clustered", "clustering"]

    stages = yaml.safe_load((ROOT / "recipes" / "cluster" / "dvc.yaml").read_text())["stages"]
    declared = {Path(out).name for stage in stages.values() for out in [*stage["outs"], *stage.get("metrics", [])]}
    written = {path.name for path in reports.iterdir()}
    assert written <= declared <= written | {"cluster"}  # the folder of models


def test_the_supervised_runs_are_those_of_finetuning(
    run: Callable[..., pd.DataFrame], make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    run(modes=["clustered", "scratch"])
    home, done = tmp_path / "home", []
    finetune(
        make_shards("labelled", labelled_rows()), "none", home / "m", home / "r",
        tiny(finetune={"modes": ["scratch"], "epochs": 3}), cache=home / "cache",
        on_start=lambda total, finished: done.append((total, finished)),
    )  # fmt: skip
    assert done == [(3, 3)]


def test_an_attribute_can_be_the_target_and_the_model_reads_back(
    run: Callable[..., pd.DataFrame], make_shards: Make, tmp_path: Path
) -> None:
    options = {"objective": "attribute", "target": "arousal", "keep": "all", "folds": 2}
    runs = run(rows=rated_rows(), encoder={"chunk_encoder": "mel_cnn", "widths": [3, 3, 4, 4]}, **options)
    assert runs["ccc"].between(-1, 1).all()
    predictions = pd.read_parquet(tmp_path / "home" / "reports" / "predictions.parquet")
    models = tmp_path / "home" / "models"
    for entry in json.loads((models / "index.json").read_text()):
        loaded = load_model(models / entry["folder"])
        assert list(loaded.spec.heads) == (["arousal"] if entry["mode"] == "scratch" else ["arousal", "cluster"])
        again = predict(tmp_path / "shards" / "labelled", models / entry["folder"], cache=tmp_path / "home" / "cache")
        same = (predictions["mode"] == entry["mode"]) & (predictions["fold"] == entry["fold"])
        both = predictions[same].merge(again, on="segment_id")
        np.testing.assert_allclose(both["p_arousal"], both["arousal"], rtol=1e-4, atol=1e-5)
        tested = {f"toy/{name}" for name in both["speaker_x"]}
        assert tested
        assert not tested & set(loaded.config["speakers"])
        assert ("talk/u" in loaded.config["speakers"]) == (entry["mode"] == "clustered_both")
        assert loaded.config.get("clustering", {}).get("k") == (None if entry["mode"] == "scratch" else 3)
    fresh = make_shards("fresh", labelled_rows("new", speakers=("n",), seed=5))
    table = predict(fresh, models / "toy/clustered_both/fold_1_seed0", cache=tmp_path / "c")
    assert set(table["cluster"]) <= {"0", "1", "2"}
    assert table["arousal"].notna().all()


def test_two_runs_are_bit_identical(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    for where in ("one", "two"):
        run(where, modes=MODES[1:], folds=2, keep="all")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one" / "models").rglob("*.safetensors"))
    assert len(files) == 4
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_test_rows_are_never_clustered(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    rows = labelled_rows()
    predictions = None
    for where in ("as it is", "spoilt"):
        run(where, rows=rows, modes=MODES[1:], folds=2, keep="all")
        predictions = pd.read_parquet(tmp_path / where / "reports" / "predictions.parquet")
        tested = set(predictions.loc[predictions["fold"] == "fold 1", "speaker"])
        for row in rows:
            if row["speaker"] in tested:
                row["features"] = (np.array(row["features"]) * 9 - 5).tolist()
    for mode in MODES[1:]:
        one, two = (
            (tmp_path / where / "models" / "toy" / mode / "fold_1_seed0" / "model.safetensors").read_bytes()
            for where in ("as it is", "spoilt")
        )
        assert one == two


def test_what_does_not_fit_is_refused(
    run: Callable[..., pd.DataFrame], make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="only the labelled speakers are in it"):
        run("a", others=unlabelled_rows("toy", speakers=("a",)))
    without = run("e", others=unlabelled_rows("toy", speakers=("a", "x")))  # those whom a fold tests are left out
    assert without["pretrain_speakers_in_test"].sum() == 0
    assert without["n_unlabelled"].max() == 12
    allowed = run("b", others=unlabelled_rows("toy", speakers=("a", "x")), allow_pretrain_speakers=True)
    assert allowed["pretrain_speakers_in_test"].sum() == 1
    with pytest.raises(InputError, match=r"cannot make k = 500"):
        run("c", k=500)
    with pytest.raises(InputError, match="no pretrained parent"):
        run("d", normalisation="parent")
    other = make_shards("other", unlabelled_rows(), frame_period=0.1)
    labelled = make_shards("labelled", labelled_rows())
    with pytest.raises(InputError, match="differ in features or frame period"):
        cluster(labelled, other, tmp_path / "m", tmp_path / "r", tiny(), ClusterParams(), cache=tmp_path)


def test_two_shard_folders_of_one_name(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    """Regression: the memory map of the first was deleted as an old version of the second."""
    one, two = make_shards("one/labelled", labelled_rows()), make_shards("two/labelled", unlabelled_rows())
    params, recipe = tiny(finetune={"epochs": 1}), ClusterParams(k=3, modes=("clustered_both",))
    assert len(cluster(one, two, tmp_path / "m", tmp_path / "r", params, recipe, cache=tmp_path / "c")) == 3


def test_agreement_by_hand() -> None:
    points = pd.DataFrame({"cluster": [0, 0, 0, 1, 1, 1], "emotion": list("aabbbb"), "speaker": list("xyxyxy")})
    found = agreement(points, "emotion")
    assert found["purity"] == pytest.approx(5 / 6)
    assert found["purity_of_one_cluster"] == pytest.approx(4 / 6)
    assert 0 < found["nmi_emotion"] < 1
    same = agreement(points.assign(cluster=[4, 4, 7, 7, 7, 7]), "emotion")
    assert same["nmi_emotion"] == pytest.approx(1)
    assert same["ami_emotion"] == pytest.approx(1)


def test_the_commands(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    params = tiny(finetune={"epochs": 2, "folds": 2, "keep": "all"})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    (tmp_path / "recipe.yaml").write_text("{k: 3, modes: [clustered]}")
    shards, home = make_shards("labelled", labelled_rows()), tmp_path / "home"
    common = ["--shards", shards, "--params", tmp_path / "params.yaml", "--cache", tmp_path / "c"]
    common += ["--recipe", tmp_path / "recipe.yaml"]

    def call(*arguments: object) -> str:
        result = CliRunner().invoke(app, [*map(str, arguments), *map(str, common)])
        assert result.exit_code == 0, result.output
        return result.output

    call("cluster", "--out", home / "m", "--reports", home / "r", "--workers", 1)  # needs no unlabelled set
    model = home / "m" / "toy" / "clustered" / "fold_1_seed0"
    output = call("clusters", model, "--out", home / "z", "--unheard")
    assert "ami_emotion" in output.replace("\n", " ")
    makeup = pd.read_csv(home / "z" / "makeup.csv")
    np.testing.assert_allclose(makeup[["anger", "neutral", "sadness"]].sum(axis=1), 1)
    points = pd.read_csv(home / "z" / "points.csv")
    assert len(makeup) == 3
    assert makeup["n"].sum() == len(points)
    assert not set(points["speaker"]) & set(load_model(model).config["speakers"])
    assert json.loads((home / "z" / "summary.json").read_text())["rows"] == len(points) == 36
    assert (home / "z" / "clusters.png").stat().st_size > 5000


def test_another_view_and_number_of_clusters(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    run(modes=["scratch"])
    model = tmp_path / "home" / "models" / "toy" / "scratch"
    options: dict[str, Any] = {"k": 5, "view": "tsne", "cache": tmp_path / "c"}
    found = latent_clusters(tmp_path / "shards" / "labelled", model, tmp_path / "z", **options)
    assert len(found.makeup) == 5
    assert np.isfinite(found.points[["x", "y"]]).all(axis=None)
    with pytest.raises(InputError, match="no row with a label in column 'mood'"):
        latent_clusters(tmp_path / "shards" / "labelled", model, tmp_path / "z", column="mood", cache=tmp_path / "c")
