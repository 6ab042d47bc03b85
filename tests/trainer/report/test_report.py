"""The files of the report, from made-up runs whose numbers are known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.trainer.report.examples import write_two_folds
from trainer.errors import InputError
from trainer.params import ReportParams
from trainer.report import page
from trainer.report.dvc import mean_history
from trainer.report.formatting import records, rules_line, synthetic_banner
from trainer.report.report import read_report, report

PARAMS = ReportParams(summary="", resamples=200)


def test_allowed_pretraining_speakers_are_loud_everywhere(tmp_path: Path) -> None:
    write_two_folds(tmp_path / "reports")
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
        write_two_folds(folder, corpus)
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
    write_two_folds(tmp_path / "old")
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
    write_two_folds(tmp_path / "r", name)
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
