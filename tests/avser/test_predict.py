"""Recordings to emotions: equal to the evaluation, and whole whatever is given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import avser
from avser.clips import find_clips
from avser.predict import run_predict
from avser.recognising import default_model
from pipeline.errors import InputError
from tests import ROOT
from tests.avser.conftest import EMOTIONS, RATE, Project, make_shards, train, write_clips
from tests.pipeline.conftest import speech_like
from trainer.errors import InputError as TrainerError
from trainer.store import seal

CLASSES = [f"p_{name}" for name in EMOTIONS]


def copied(project: Project, folder: Path, **changes: object) -> Path:
    """Copy a model and change its config.json; None takes an entry away."""
    shutil.copytree(project.model("fold 1"), folder)
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    seal(folder)
    return folder


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "avser", *map(str, arguments)], cwd=cwd, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize("fold", ["fold 1", "fold 2"])
def test_probabilities_are_those_of_the_evaluation(project: Project, fold: str) -> None:
    table = avser.load(project.model(fold)).predict(project.manifest)
    known = project.predictions.query("fold == @fold").merge(table, on="segment_id", suffixes=("", "_here"))
    assert len(known) == 8
    np.testing.assert_allclose(known[[f"{name}_here" for name in CLASSES]], known[CLASSES], atol=1e-6)
    assert (known["emotion"] == known["predicted"]).all()
    assert known["p_anger"].std() > 1e-4  # they differ between clips, so that the wrong clip would show
    assert list(table.columns[:6]) == ["file", "segment_id", "start", "end", "status", "reason"]


def test_a_file_alone_gives_what_the_manifest_gives(project: Project) -> None:
    model = avser.load(project.model("fold 1"))
    by_manifest = model.predict(project.manifest).set_index("segment_id")
    alone = model.predict(project.folder / "a_00.wav")
    np.testing.assert_allclose(alone[CLASSES], by_manifest.loc[["a_00#000"], CLASSES], atol=1e-6)
    folder = model.predict(project.folder)
    assert folder["file"].tolist() == sorted(str(path) for path in project.folder.glob("*.wav"))


def test_a_calibrated_model_divides_its_logits(project: Project, tmp_path: Path) -> None:
    clip = project.folder / "a_00.wav"
    plain = avser.load(project.model("fold 1")).predict(clip)[CLASSES].to_numpy()
    warm = avser.load(copied(project, tmp_path / "warm", calibration={"temperature": 2.0})).predict(clip)
    expected = np.sqrt(plain) / np.sqrt(plain).sum()
    np.testing.assert_allclose(warm[CLASSES].to_numpy(), expected, atol=1e-6)
    with pytest.raises(TrainerError, match="temperature must be a number above 0, not 0"):
        avser.load(copied(project, tmp_path / "cold", calibration={"temperature": 0}))


@pytest.mark.slow
def test_a_long_recording_is_cut_at_its_pauses(project: Project, tmp_path: Path) -> None:
    pattern = [(0.5, False), (4.0, True), (3.0, False), (6.0, True), (0.6, False), (8.0, True)] * 6
    path = tmp_path / "long.wav"
    soundfile.write(path, speech_like(pattern), RATE, subtype="PCM_16")
    model = avser.load(project.model("fold 1"))
    table = model.predict(path)
    assert len(table) == 18
    assert (table["end"] - table["start"]).max() <= 11.0
    assert (table["start"].to_numpy()[1:] >= table["end"].to_numpy()[:-1]).all()
    assert len(model.predict(path, whole=True)) == 1
    begun = time.perf_counter()
    model.predict(path)
    assert time.perf_counter() - begun < 0.1 * table["end"].max()  # measured: .01 of real time


def test_damaged_files_cost_their_own_rows(project: Project, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copy(project.folder / "a_00.wav", tmp_path / "good.wav")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "junk.mp4").write_bytes(bytes(range(256)) * 20)
    soundfile.write(tmp_path / "silent.wav", np.zeros(2 * RATE), RATE)
    soundfile.write(tmp_path / "short.wav", speech_like([(0.1, True)]), RATE)
    (tmp_path / "notes.txt").write_text("no media")
    options = {"plot": None, "whole": False, "root": None, "speech_model": None}
    model, out = project.model("fold 1"), tmp_path / "out" / "table.csv"
    assert run_predict([tmp_path], model=model, output=out, **options)
    said = capsys.readouterr().out
    table = pd.read_csv(out).set_index("file")
    assert table["status"].value_counts().to_dict() == {"quarantined": 4, "ok": 1}
    for name, reason in {"empty.wav": "0 bytes", "junk.mp4": "supported format", "silent.wav": "no audio signal",
                         "short.wav": "labelled_min_seconds"}.items():  # fmt: skip
        assert reason in table.loc[str(tmp_path / name), "reason"]
        assert f"{name}" in said
    assert table.loc[str(tmp_path / "good.wav"), "confidence"] > 0
    assert not run_predict([tmp_path / "junk.mp4"], model=model, output=None, **options)


@pytest.mark.slow
def test_the_command_ends_with_2_where_no_file_could_be_used(project: Project, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    found = run("predict", "empty.wav", "--model", project.model("fold 1"), cwd=tmp_path)
    assert (found.returncode, found.stderr) == (2, "")
    assert "is empty (0 bytes)" in found.stdout
    found = run("predict", project.folder / "a_00.wav", "-m", project.model("fold 1"), "--plot", "a.png", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "a.png").stat().st_size > 5000
    assert run("predict", "none.wav", cwd=tmp_path).stderr == "error: none.wav: there is no such file or folder\n"


def test_what_a_model_needs_and_cannot_get_is_named(project: Project, tmp_path: Path) -> None:
    front_end = json.loads((project.model("fold 1") / "config.json").read_text())["front_end"]

    def refused(name: str, **changes: object) -> str:
        with pytest.raises((InputError, TrainerError)) as error:
            avser.load(copied(project, tmp_path / name, **changes))
        return str(error.value)

    assert "train again" in refused("old", front_end=None)
    wider = front_end | {"acoustics": front_end["acoustics"] | {"frame_step": 0.01}}
    assert "frame_period: the model 0.016 s, here 0.01 s" in refused("step", front_end=wider)
    unknown = front_end | {"acoustics": front_end["acoustics"] | {"warp": 2}}
    assert "acoustics.warp: Extra inputs are not permitted" in refused("unknown", front_end=unknown)
    other = front_end | {"acoustics": front_end["acoustics"] | {"features": "egemaps_lld"}}
    assert "feature_names: the model 130, here 25, the first that differs" in refused("set", front_end=other)
    older = front_end | {"versions": {"opensmile": "1.0", "ffmpeg": front_end["versions"]["ffmpeg"]}}
    model = avser.load(copied(project, tmp_path / "older", front_end=older))
    assert [text.split(",")[0] for text in model.differences] == ["opensmile: the model 1.0"]
    with pytest.raises(InputError, match=r"is a folder of models, name one of them: .*fold_1_seed0"):
        avser.load(project.folder / "models")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("finetune", "columns"),
    [
        ({"objective": "soft", "target": "votes"}, ["emotion", "confidence", *CLASSES]),
        ({"objective": "multilabel", "target": "votes"}, ["emotion", *CLASSES]),
        ({"objective": "attribute", "target": "arousal"}, ["arousal"]),
        ({"normalisation": "speaker"}, ["emotion", "confidence", *CLASSES]),
    ],
)
def test_other_kinds_of_models(
    project: Project, tmp_path: Path, finetune: dict, columns: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    known = train(Path("data/shards/labelled"), tmp_path, **finetune).query("fold == 'fold 1'")
    model = avser.load(Project(tmp_path, known).model("fold 1"))
    table = model.predict(project.manifest)
    assert list(table.columns[6:]) == columns
    both = known.merge(table, on="segment_id", suffixes=("", "_here"))
    numbers = {"arousal": "p_arousal"} if columns == ["arousal"] else {f"{name}_here": name for name in CLASSES}
    np.testing.assert_allclose(both[list(numbers)], both[list(numbers.values())], atol=1e-6)
    if finetune.get("normalisation") == "speaker":
        with pytest.raises(InputError, match=r"nobody says who speaks in .*a_00\.wav: give a manifest"):
            model.predict(project.folder / "a_00.wav")
    from avser.picture import draw_predictions

    draw_predictions(table, model, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


@pytest.mark.slow
def test_the_mel_spectrogram_travels_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = write_clips(tmp_path)
    mel = {"logmel": True, "mel": {"bands": 40}}
    known = train(
        make_shards(manifest, acoustics=mel, shards={"features": "logmel", "dense": {"groups": []}}), tmp_path
    )
    table = avser.load(Project(tmp_path, known).model("fold 2")).predict(manifest)
    both = known.query("fold == 'fold 2'").merge(table, on="segment_id", suffixes=("", "_here"))
    np.testing.assert_allclose(both[[f"{name}_here" for name in CLASSES]], both[CLASSES], atol=1e-6)
    assert avser.extract(tmp_path / "a_00.wav", model=Project(tmp_path, known).model("fold 2")).shape[1] == 40


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.MP4").touch()
    (tmp_path / "sub" / ".hidden.wav").touch()
    assert [clip.file for clip in find_clips([tmp_path])] == [str(tmp_path / "a.wav"), str(tmp_path / "sub" / "b.MP4")]
    assert len(find_clips([tmp_path, tmp_path / "a.wav"])) == 2  # each once
    (tmp_path / "m.csv").write_text(
        "clip_id,corpus,path,speaker,start,end,emotion\nx,c,a.wav,s,1,2,\ny,c,a.wav,s,2,,anger\nz,c,../a.wav,s,,,\n"
    )
    clips = {clip.name: clip for clip in find_clips([tmp_path / "m.csv"])}
    assert (clips["x"].start, clips["x"].end, clips["x"].labelled, clips["x"].speaker) == (1.0, 2.0, False, "c/s")
    assert (clips["y"].end, clips["y"].labelled) == (None, True)
    assert "row 4: path" in clips["z"].fault
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds no media files"):
        find_clips([tmp_path / "none"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "features", "layer", "layers"),
    [
        ("wav2vec", "speech_model", 1, 1),
        ("whisper", "speech_model", "all", 3),
        ("whisper", "lld+speech_model", "middle", 1),
    ],
)
def test_a_speech_model_is_found_where_it_moved_and_no_other_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, features: str, layer: str | int, layers: int
) -> None:
    pytest.importorskip("transformers")
    from tests.pipeline.acoustics import test_speech_model, test_whisper

    make = test_speech_model.make if kind == "wav2vec" else test_whisper.make
    monkeypatch.chdir(tmp_path)
    manifest, speech = write_clips(tmp_path), make(tmp_path / "speech")
    chosen = {"features": features, "dense": {"groups": []}}
    settings = {"speech_model": {"path": speech, "layer": layer}}
    known = train(make_shards(manifest, acoustics=settings, shards=chosen), tmp_path, layers=layers)
    folder = Project(tmp_path, known).model("fold 1")
    moved = speech.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="name its folder with --speech-model"):
        avser.load(folder)
    with pytest.raises(InputError, match=r"is not the speech model of training \(acoustics\.speech_model\.sha256"):
        avser.load(folder, speech_model=make(tmp_path / "other", seed=1))
    table = avser.load(folder, speech_model=moved).predict(manifest)
    both = known.query("fold == 'fold 1'").merge(table, on="segment_id", suffixes=("", "_here"))
    np.testing.assert_allclose(both[[f"{name}_here" for name in CLASSES]], both[CLASSES], atol=1e-6)


def test_prediction_loads_nothing_that_it_does_not_need(project: Project) -> None:
    # Regression: the deterministic mode loaded torch's compiler, which took 1.4 s of 4.
    heavy = ["torch._dynamo", "sklearn", "scipy", "matplotlib", "librosa", "mediapipe", "feat", "distributed"]
    code = (
        f"import sys, avser; model = avser.load({str(project.model('fold 1'))!r}); "
        f"model.predict({str(project.folder / 'a_00.wav')!r}); print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_other_endings_of_outputs_are_refused_at_once(tmp_path: Path) -> None:
    options = {"model": None, "whole": False, "root": None, "speech_model": None}
    with pytest.raises(InputError, match=r"ends in \.csv or \.parquet"):
        run_predict([tmp_path], output=Path("a.txt"), plot=None, **options)
    with pytest.raises(InputError, match=r"ends in \.png, \.svg or \.pdf"):
        run_predict([tmp_path], output=None, plot=Path("a.doc"), **options)


def test_without_a_model_the_final_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = Path("models/finetune/toy/scratch")
    kept.mkdir(parents=True)
    (kept / "config.json").touch()
    with pytest.raises(InputError, match=rf"set finetune\.final to true .* Trained ones that are here: {kept}\."):
        default_model()
    for number, corpus in enumerate(("a", "b")):
        (Path("models/final") / corpus).mkdir(parents=True)
        (Path("models/final") / corpus / "config.json").touch()
        if not number:
            assert default_model() == Path("models/final/a")
    with pytest.raises(
        InputError, match="holds several models, choose one with --model: models/final/a, models/final/b"
    ):
        default_model()
