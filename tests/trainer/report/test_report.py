"""The report, from hand-made runs (known numbers) and from the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from tests import ROOT
from tests.trainer.conftest import labelled_rows, unlabelled_rows
from trainer import cli
from trainer.cli import app
from trainer.errors import InputError
from trainer.evaluation.tables import class_table, paired_table, pool, result_table
from trainer.params import Params, ReportParams
from trainer.report import page
from trainer.report.dvc import mean_history
from trainer.report.formatting import paired_line, records, rules_line, synthetic_banner
from trainer.report.report import read_report, report

PARAMS = ReportParams(summary="", resamples=200)


def _runs(corpus: str = "emodb") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two modes, two folds, one seed; pretrained is .1 better in every pair."""
    rows, told = [], []
    for mode, gain in (("scratch", 0.0), ("pretrained", 0.1)):
        for fold, base in (("fold 1", 0.4), ("fold 2", 0.6)):
            value = base + gain
            rows.append(
                {
                    "corpus": corpus,
                    "mode": mode,
                    "fold": fold,
                    "seed": 0,
                    **dict.fromkeys(("macro_precision", "uar", "macro_f1", "accuracy"), value),
                    "chance": 0.5,
                    "target": "emotion",
                    "objective": "hard",
                    "n_classes": 2,
                    "label_source": "voice",
                    "label_rule": "majority",
                    "protocol": "2 folds by speaker",
                    "label_fraction": 1.0,
                    "pretrain_tasks": "1+2+3" if gain else None,
                    "transfer": "all" if gain else None,
                    "normalisation": "train",
                    "allow_pretrain_speakers": False,
                    "pretrain_speakers_in_test": 0,
                }
            )
            for target, predicted in (("anger", "anger"), ("sadness", "anger" if fold == "fold 1" else "sadness")):
                entry = {"segment_id": f"{fold}{target}", "speaker": fold, "target": target, "predicted": predicted}
                told.append({"corpus": corpus, "mode": mode, "fold": fold, "seed": 0, **entry})
    return pd.DataFrame(rows), pd.DataFrame(told)


def _write(folder: Path, corpus: str = "emodb") -> None:
    folder.mkdir(parents=True)
    runs, told = _runs(corpus)
    runs.to_parquet(folder / "finetune_runs.parquet")
    told.to_parquet(folder / "predictions.parquet")
    keys = runs[["corpus", "mode", "fold", "seed"]]
    history = pd.concat([keys.assign(epoch=e, train_loss=1.0, dev_loss=1.0, dev_score=0.3 + e / 10) for e in (1, 2)])
    history.to_csv(folder / "finetune_history.csv", index=False)


def test_table_and_test_by_hand() -> None:
    runs, told = _runs()
    pooled = pool(runs, told, params=PARAMS)
    table = result_table(runs, pooled, params=PARAMS).set_index("mode")
    assert list(table.index) == ["scratch", "pretrained"]
    assert table.loc["scratch", "uar_mean"] == pytest.approx(0.5)
    assert table.loc["scratch", "uar_std"] == pytest.approx(np.std([0.4, 0.6], ddof=1))
    assert table.loc["pretrained", "macro_f1_mean"] == pytest.approx(0.6)
    assert table.loc["scratch", "pooled_uar"] == pytest.approx(0.75)  # anger 2 of 2, sadness 1 of 2
    (row,) = paired_table(runs, pooled, params=PARAMS).query("measure == 'macro_f1'").to_dict("records")
    assert (row["n"], row["mean_difference"]) == (2, pytest.approx(0.1))
    assert "pretrained - scratch, macro F1: +.100 ± .000 (+20.0 %) over 2 pairs" in paired_line(row)
    assert "too few pairs (2)" in paired_line(row)


def test_pooled_intervals_by_hand() -> None:
    """Two speakers: one all right, one half right, so that a resample is 1, 3/4 or 1/2."""
    runs, told = _runs()
    (row, _) = result_table(runs, pool(runs, told, params=PARAMS), params=PARAMS).to_dict("records")
    assert (row["pooled_uar_low"], row["pooled_uar"], row["pooled_uar_high"]) == (0.5, 0.75, 1.0)
    (test,) = (
        paired_table(runs, pool(runs, told, params=PARAMS), params=PARAMS).query("measure == 'uar'").to_dict("records")
    )
    assert (test["difference_low"], test["difference_high"]) == (0.0, 0.0)  # both modes say the same
    one = told.assign(speaker="ann")
    (row, _) = result_table(runs, pool(runs, one, params=PARAMS), params=PARAMS).to_dict("records")
    assert row["pooled_uar_low"] is None  # nobody to resample


def test_class_table_by_hand() -> None:
    runs, told = _runs()
    table = class_table(pool(runs, told, params=PARAMS)).query("mode == 'scratch'").set_index("class")
    assert table.loc["sadness", ["n", "recall", "precision"]].tolist() == [2, 0.5, 1.0]
    assert table.loc["anger", "recall"] == 1.0
    assert table.loc["anger", "precision"] == pytest.approx(2 / 3)


def test_a_mode_of_others_has_its_row_and_its_comparison() -> None:
    """Baselines may stand in the same tables: they need target, predicted and speaker of each utterance."""
    runs, told = _runs()
    svm = runs[runs["mode"] == "scratch"].assign(mode="svm_compare", uar=0.9, pretrain_tasks=None)
    runs = pd.concat([runs, svm], ignore_index=True)
    told = pd.concat([told, told[told["mode"] == "scratch"].assign(mode="svm_compare")], ignore_index=True)
    pooled = pool(runs, told, params=PARAMS)
    assert result_table(runs, pooled, params=PARAMS)["mode"].tolist() == ["scratch", "pretrained", "svm_compare"]
    assert set(paired_table(runs, pooled, params=PARAMS)["mode"]) == {"pretrained", "svm_compare"}


def test_the_printed_table_fits_a_terminal_of_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.chdir(home)
    _write(tmp_path / "reports", corpus="a_corpus_with_a_long_name")
    runs = pd.read_parquet(tmp_path / "reports" / "finetune_runs.parquet")
    told = pd.read_parquet(tmp_path / "reports" / "predictions.parquet")
    for table, name in ((runs, "finetune_runs"), (told, "predictions")):
        more = table[table["mode"] == "scratch"].assign(mode="svm-linear compare")
        pd.concat([table, more], ignore_index=True).to_parquet(tmp_path / "reports" / f"{name}.parquet")
    screen = StringIO()
    monkeypatch.setattr(cli, "console", Console(width=80, file=screen, force_terminal=True, no_color=True))
    assert CliRunner().invoke(app, ["report"]).exit_code == 0
    lines = re.sub("\x1b\\[[0-9;]*m", "", screen.getvalue()).splitlines()
    assert max(map(len, lines)) <= 80
    shown = " ".join(" ".join(lines).split())
    assert "…" not in shown
    for piece in (
        "a_corpus_with_a_long_name: emotion, 2 classes; label voice, majority; normalisation train;",
        "2 folds by speaker, 2 x 1 seeds",
        "pretraining tasks 1+2+3, transfer all",
        "mode macro P UAR macro F1 WA pooled interval",
        "pretrained .600±.141 .600±.141 .600±.141 .600±.141 .750 .50-1.00",
        "svm-linear .500±.141",  # the rest of its name below
        ".50-1.00",
        "(+20.0 %) over 2 pairs",
        "Pretraining changed UAR on a_corpus_with_a_long_name by +.100 [+.100, +.100] over 2 pairs: too few pairs",
    ):
        assert piece in shown, piece
    assert (
        shown.index("Wilcoxon") < shown.index("Pretraining changed") < shown.index("mode macro P")
    )  # the table is last
    assert "svm-linear compare - scratch" not in shown  # tests of simple recognisers are in the files


def test_allowed_pretraining_speakers_are_loud_everywhere(tmp_path: Path) -> None:
    _write(tmp_path / "reports")
    runs = pd.read_parquet(tmp_path / "reports" / "finetune_runs.parquet")
    runs["allow_pretrain_speakers"] = True
    runs.loc[runs["mode"] == "pretrained", "pretrain_speakers_in_test"] = 1
    runs.to_parquet(tmp_path / "reports" / "finetune_runs.parquet")
    table, _, _ = report(tmp_path / "reports", tmp_path / "none", PARAMS)
    words = "pretraining speakers allowed in test folds; 2 there"
    assert words.upper() in rules_line(records(table))
    assert words in (tmp_path / "reports" / "results.md").read_text()
    html = (tmp_path / "reports" / "index.html").read_text()
    assert words.upper() in html
    assert "pretraining speakers allowed in test folds" in html.partition("Is it luck?")[0]


def test_a_run_that_stopped_early_stays_where_it_stopped() -> None:
    long = pd.DataFrame({"fold": "1", "seed": 0, "epoch": [1, 2, 3], "dev_score": [0.2, 0.4, 0.6]})
    short = pd.DataFrame({"fold": "2", "seed": 0, "epoch": [1, 2], "dev_score": [0.4, 0.8]})
    mean = mean_history(pd.concat([long, short]).assign(train_loss=1.0, dev_loss=1.0))
    assert mean["dev_score"].tolist() == pytest.approx([0.3, 0.6, 0.7])
    assert mean["running"].tolist() == [2, 2, 1]


def test_all_files_are_written_and_loud_where_the_data_is_synthetic(tmp_path: Path) -> None:
    summary = {"unlabelled": {"clips_in": 3, "quarantined": {"faces": {"<no face>": 1}}}}
    (tmp_path / "pipeline.json").write_text(json.dumps(summary))
    params = ReportParams(summary=str(tmp_path / "pipeline.json"))
    for corpus, loud in (("emodb", False), ("synthetic-labelled", True)):
        folder = tmp_path / corpus
        _write(folder, corpus)
        _, _, banner = report(folder, tmp_path / "no_model", params)
        assert bool(banner) == loud
        assert read_report(folder, tmp_path / "no_model")[2] == banner
        html = (folder / "index.html").read_text()
        assert ("SYNTHETIC" in html) == loud
        assert ("SYNTHETIC" in (folder / "results.md").read_text()) == loud
        assert "&lt;no face&gt;" in html
        assert "<no face>" not in html
        assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)|url\((?!#)|<script""", html)  # nothing is fetched
        for name in ("results.png", "confusion.png", "training.png"):
            assert (folder / name).read_bytes().startswith(b"\x89PNG")
        details = json.loads((folder / "details.json").read_text())["finetune"][corpus]
        assert details["pretrained"]["uar"]["mean"] == pytest.approx(0.6)
        assert details["pretrained_minus_scratch"]["uar"]["p_wilcoxon"] == pytest.approx(0.5)
        assert json.loads((folder / "metrics.json").read_text()) == {
            "scratch": {"uar": 0.5, "f1": 0.5},
            "pretrained": {"uar": 0.6, "f1": 0.6},
            "gain": 0.1,  # p: undefined, the two pairs differ by the same
        }
        confusion = pd.read_csv(folder / "plots" / "confusion" / f"{corpus}_scratch.csv")
        assert list(confusion.columns) == ["actual", "predicted"]
        history = pd.read_csv(folder / "plots" / "history" / f"finetune_{corpus}_scratch.csv")
        assert history["epoch"].tolist() == [1, 2]
        assert history["dev_score"].tolist() == pytest.approx([0.4, 0.5])


def test_banner_names_what_is_synthetic() -> None:
    assert synthetic_banner({"emodb", "synthetic-unlabelled"}) == (
        "SYNTHETIC in part: synthetic-unlabelled is generated demonstration data."
    )


def test_no_runs_is_a_named_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="python -m trainer finetune"):
        report(tmp_path, tmp_path, ReportParams())
    with pytest.raises(InputError, match="python -m trainer report"):
        read_report(tmp_path, tmp_path)
    _write(tmp_path / "old")
    path = tmp_path / "old" / "finetune_runs.parquet"
    pd.read_parquet(path).drop(columns="objective").to_parquet(path)
    with pytest.raises(InputError, match="of an older version"):
        report(tmp_path / "old", tmp_path, ReportParams())


def test_blocks_of_a_page() -> None:
    rows = [{"name": "<a>", "n": 1, "ratio": 0.12345, "mean": ".7 ± .1", "word": "no"}, {"name": "b", "ratio": None}]
    html = page.page("any", "found <b>", [page.table(rows), page.details("more", [page.note("inside")])])
    for piece in ('<th scope="row">&lt;a&gt;</th>', "<h1>found &lt;b&gt;</h1>", "<summary>more</summary>", ">inside<"):
        assert piece in html
    assert '<td class="number"><span>.123</span></td>' in html
    assert '<td class="number"><span>.7</span> <span>± .1</span></td>' in html  # a line may break between them
    assert "<td>no</td>" in html  # words stand to the left


@pytest.fixture
def home(make_shards: Callable[..., Path], tiny: Callable[..., Params], tmp_path: Path) -> Path:
    """A project folder with shards where the commands look for them, and a params.yaml."""
    make_shards("unlabelled", unlabelled_rows())
    make_shards("labelled", labelled_rows())
    (tmp_path / "data").mkdir()
    (tmp_path / "shards").rename(tmp_path / "data" / "shards")
    params = tiny(pretrain={"epochs": 2}, finetune={"epochs": 2}).model_dump(mode="json")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


def test_the_four_commands(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    runner = CliRunner()

    def call(*arguments: str) -> str:
        result = runner.invoke(app, list(arguments))
        assert result.exit_code == 0, result.output
        return result.output

    assert "energy_variation" in call("pretrain")
    call("finetune", "--workers", "1")
    shown = call("report")
    assert "toy" in shown
    assert "reports/index.html" in shown
    assert call("report", "--show") == shown
    assert "72 predictions" in call("predict", "data/shards/labelled", "-m", "models/finetune/toy/scratch")


def test_errors_are_shown_without_a_traceback(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (home / "params.yaml").write_text("pretrain: {epochs: none}")
    result = CliRunner().invoke(app, ["pretrain"])
    assert result.exit_code == 2
    assert "pretrain.epochs" in result.output
    assert "Traceback" not in result.output


def test_trains_where_the_pipelines_packages_are_absent(home: Path) -> None:
    """The import wall: every blocked import raises, and the whole way to the report works all the same."""
    blocked = ["mediapipe", "feat", "opensmile", "ffmpeg", "av", "librosa", "cv2", "dask", "soundfile", "pipeline"]
    code = f"""
import importlib.abc, sys
class Wall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Wall())
from trainer.cli import app
for command in (["pretrain"], ["finetune", "--workers", "1"], ["report"],
                ["predict", "data/shards/labelled", "-m", "models/pretrain"]):
    app(command, standalone_mode=False)
"""
    environment: dict[str, Any] = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", code], cwd=home, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (home / "reports" / "index.html").is_file()
    assert (home / "predictions.parquet").is_file()


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>|x",
        "=cmd|' /C calc'!A0",
        "a$\\foo$ [link](http://x) ![i](http://x) `code`\n# next",
        "@x",
    ],
)
def test_names_that_would_run_are_shown_as_text(tmp_path: Path, name: str) -> None:
    _write(tmp_path / "r", name)
    table, _, _ = report(tmp_path / "r", tmp_path / "none", PARAMS)
    assert set(table["corpus"]) == {name}
    text = (tmp_path / "r" / "results.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows[:4]}) == 1  # as many cells as headings
    assert len(rows) == 4 + 6
    for harm in ("<script", "](http", "`", "# next\n"):
        assert harm not in text
    html = (tmp_path / "r" / "index.html").read_text()
    assert "<script" not in html
    written = [tmp_path / "r" / f"{table}.csv" for table in ("results", "classes", "paired")]
    for path in [*written, *(tmp_path / "r").rglob("plots/*/*.csv")]:
        for column in pd.read_csv(path, dtype=str).T.to_numpy():
            assert not [cell for cell in column if isinstance(cell, str) and re.match(r"[=@\t\r]|[+-](?!\d)", cell)]
    shown, _, _ = read_report(tmp_path / "r", tmp_path / "none")
    assert set(shown["corpus"]) == {name}
