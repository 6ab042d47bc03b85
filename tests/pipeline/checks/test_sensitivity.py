"""What becomes of labels when films are degraded: bookkeeping, and the real thing on real films."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipeline.checks.sensitivity import compare, print_sensitivity, run_sensitivity, shifted
from pipeline.checks.worse_films import Degradation, measure_degraded
from pipeline.engine.places import usable_segments
from pipeline.errors import InputError
from pipeline.labels.config import LabelsConfig
from pipeline.media import frames, probe
from pipeline.params import Params
from pipeline.stages.segments import run_segments
from tests.pipeline.faces import MEDIA

FILMS = ("single_face.mp4",)


def table(t1: list[str | None], t2: list[str | None]) -> pd.DataFrame:
    names = [f"s{i}" for i in range(len(t1))]
    base = {
        "corpus": ["a", "a", "b", "b"],
        "t1_stat": [1.0, 2, 3, 4],
        "t2_stat": [4.0, 3, 2, 1],
        "t3_anger": [0.1, 0.2, 0.3, 0.5],
    }
    return pd.DataFrame(
        {**base, "t1_label": t1, "t2_label": t2, "t3_label": "anger", "t3_confidence": 0.1}, index=names
    ).astype({"t1_label": object, "t2_label": object})


def test_kept_changed_lost_and_gained_add_up() -> None:
    before = table(["high", "low", "high", None], ["high"] * 4)
    after = table(["high", "high", None, "low"], ["high"] * 4)
    found = compare(before, after, change="x", reading="fixed").set_index(["corpus", "task"])
    row = found.loc[("all", "t1")]
    assert row[["before", "kept", "changed", "lost", "gained"]].tolist() == [3, 1, 1, 1, 1]
    assert row["kept_share"] == 0.5
    assert found.loc[("a", "t1"), "segments"] == 2
    assert (found.xs("t2", level="task")["kept_share"] == 1).all()
    assert found.loc[("all", "t2"), "rank_r"] == pytest.approx(1)


def test_thresholds_move_both_ways_by_a_twentieth() -> None:
    fitted = {"t1": {"*": [2.0, 2.0]}, "t2": {"*": [1.0, 1.0], "a": [4.0, 4.0]}, "t3": {}}
    (_, down, low), (name, up, high) = shifted(fitted, LabelsConfig())
    assert name == "threshold +5%"
    assert down["t1"]["*"] == pytest.approx([1.9, 1.9])
    assert up["t2"]["a"] == pytest.approx([4.2, 4.2])
    assert low.au_emotion.floor < LabelsConfig().au_emotion.floor < high.au_emotion.floor
    assert fitted["t1"]["*"] == [2.0, 2.0]


@pytest.fixture
def flow(tmp_path, monkeypatch) -> Params:
    """The segments of a real film with a face."""
    monkeypatch.chdir(tmp_path)
    rows = [{"clip_id": Path(name).stem, "corpus": "films", "path": name, "speaker": name} for name in FILMS]
    pd.DataFrame(rows).to_csv("m.csv", index=False)
    chosen = {"manifest": "m.csv", "root": MEDIA}
    params = Params.model_validate({"sets": {"unlabelled": chosen, "labelled": chosen}, "run": {"workers": 1}})
    run_segments(params, "unlabelled")
    return params


@pytest.mark.slow
def test_worse_films_are_really_worse_and_measured_by_the_real_stages(flow, tmp_path) -> None:
    segments = usable_segments("unlabelled")
    plain = measure_degraded(flow, segments, Degradation("plain"))
    slow = measure_degraded(flow, segments, Degradation("slow", max_fps=12.5))
    poor = measure_degraded(flow, segments, Degradation("poor", crf=40))
    assert len(plain.tracks) == len(FILMS)
    for name in plain.tracks:
        assert 0.35 < len(slow.tracks[name]) / len(plain.tracks[name]) < 0.7
    assert slow.rows["t1_stat"].equals(plain.rows["t1_stat"])  # the sound is the same
    assert (poor.rows["t2_stat"] != plain.rows["t2_stat"]).all()
    films = list((tmp_path / ".cache/avser/worse").iterdir())
    assert len(films) == len(FILMS)
    assert all(probe(film).has_audio for film in films)
    # Smaller files, with every frame at its own time.
    sources = [MEDIA / name for name in FILMS]
    assert sum(film.stat().st_size for film in films) < 0.5 * sum(source.stat().st_size for source in sources)
    times = [[frame.time for frame in frames(path)] for path in (*sources, *films)]
    for wanted in times[: len(FILMS)]:
        assert any(
            len(wanted) == len(found) and found == pytest.approx(wanted, abs=2e-3) for found in times[len(FILMS) :]
        )


@pytest.mark.slow
def test_the_study_writes_its_table_and_a_plot(flow, tmp_path, capsys) -> None:
    found = run_sensitivity(flow, wanted=3, output=tmp_path / "reports/sensitivity.csv")
    stored = pd.read_csv(tmp_path / "reports/sensitivity.csv")
    assert len(stored) == len(found)
    assert (tmp_path / "reports/sensitivity.png").stat().st_size > 5000
    assert {"15 Hz", "10 Hz", "7.5 Hz", "crf 32", "half size, crf 32", "threshold +5%"} <= set(stored["change"])
    rates = stored[stored["change"].str.endswith("Hz") & (stored["corpus"] == "all")]
    assert len(rates) == 3 * 3 * 2
    assert (rates.loc[rates["task"] == "t1", "changed"] == 0).all()  # T1 does not look at the picture
    assert (rates.loc[rates["task"] == "t2", "before"] == 1).all()
    print_sensitivity(found)
    assert "15 Hz" in capsys.readouterr().out
    with pytest.raises(InputError, match="--skip"):
        run_sensitivity(flow, wanted=3, skip=99, output=tmp_path / "x.csv")
