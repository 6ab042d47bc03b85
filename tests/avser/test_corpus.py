"""Published corpora by their protocols, on tiny trees of the real layouts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from avser.check import check
from avser.corpus import RECIPES, prepare, read_recipe
from pipeline.corpora.crema_d import ACTED, LETTERS
from pipeline.errors import InputError
from pipeline.params import load_params, set_values
from tests import ROOT
from trainer.params import load_params as load_trainer

ACTORS = ("1037", "1001", "1073", "1055", "1019")  # one of each session
SENTENCES = ("DFA", "IEO", "IOM", "ITH")
EMOTIONS = ("anger", "happiness", "sadness", "neutral")
CODES = {emotion: code for code, emotion in ACTED.items()}


def place(source: Path | None, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, to) if source is not None else to.touch()


def crema_d(root: Path, clips: list[tuple[str, str, Path | None, Path | None]]) -> Path:
    """Plant the repository: sound, films and the table of votes; ``clips``: actor, emotion, sound and film."""
    numbers: dict[tuple[str, str], int] = {}
    lines = ['"","A","D","F","H","N","S","fileName","meanEmoResp"']
    for row, (actor, emotion, sound, film) in enumerate(clips):
        number = numbers[actor, emotion] = numbers.get((actor, emotion), -1) + 1
        name = f"{actor}_{SENTENCES[number]}_{CODES[emotion]}_XX"
        place(sound, root / "AudioWAV" / f"{name}.wav")
        place(film, root / "VideoFlash" / f"{name}.flv")
        votes = ",".join("7" if LETTERS[letter] == emotion else "1" for letter in "ADFHNS")
        lines.append(f'"{100001 + row}",{votes},"{name}",60')
    (root / "processedResults").mkdir()
    (root / "processedResults" / "tabulatedVotes.csv").write_text("\n".join(lines) + "\n")
    return root


def msp_podcast(root: Path, clips: list[tuple[str, str, Path | None, Path | None]]) -> Path:
    """Plant sounds and the consensus table: two speakers test, one is for development."""
    speakers = sorted({clip[0] for clip in clips})
    parts = dict(zip(speakers, ("Train", "Train", "Development", "Test1", "Test1"), strict=True))
    act = {"anger": 6.0, "happiness": 5.0, "sadness": 2.0, "neutral": 3.0}
    lines = ["FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"]
    for row, (actor, emotion, sound, _) in enumerate(clips):
        name = f"MSP-PODCAST_{row:04d}_0001.wav"
        place(sound, root / "Audios" / name)
        values = f"{act[emotion] + row % 3 / 3:.2f},{4 - row % 5 / 4:.2f},{4 + row % 4 / 3:.2f}"
        lines.append(f"{name},{emotion[0].upper()},{values},{actor},Male,{parts[actor]}")
    (root / "Labels").mkdir()
    (root / "Labels" / "labels_consensus.csv").write_text("\n".join(lines) + "\n")
    return root


def silent(per_actor: int = 8) -> list[tuple[str, str, None, None]]:
    return [(actor, emotion, None, None) for actor in ACTORS for emotion in (EMOTIONS * 4)[:per_actor]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / RECIPES, tmp_path / RECIPES)
    return tmp_path


def test_crema_d_is_prepared_by_its_protocol(project: Path) -> None:
    root = crema_d(project / "CREMA-D", silent())
    before = (project / "params.yaml").read_text()
    said = "\n".join(prepare("crema_d", root))
    assert "40 clips of crema_d, 5 speakers" in said
    assert "finetune.folds: auto -> fold" in said
    sets = load_params().sets
    labelled, films = pd.read_csv(sets.labelled.manifest), pd.read_csv(sets.unlabelled.manifest)
    assert sorted(labelled["fold"].unique()) == ["S1", "S2", "S3", "S4", "S5"]
    assert set(labelled["label_source"]) == {"voice"}
    assert set(labelled["label_rule"]) == {"majority"}
    assert labelled["path"].str.startswith("AudioWAV/").all()
    assert films["path"].str.startswith("VideoFlash/").all()
    assert set(films["clip_id"]) == set(labelled["clip_id"])  # the face of an utterance is found by its clip
    options = load_trainer().finetune
    assert (options.folds, options.dev, options.monitor) == ("fold", "fold", "score")
    assert options.modes == ("scratch", "pretrained")
    found = check(project / "params.yaml")
    assert found.problems == []
    assert "crema_d: 5 folds, tested speakers 1, 1, 1, 1, 1" in found.facts
    assert any("each fold pretrains without those it tests" in fact for fact in found.facts)
    after = (project / "params.yaml").read_text()
    comments = [[line.partition(" # ")[2] for line in text.splitlines()] for text in (before, after)]
    assert [line for line in comments[0] if line] == [line for line in comments[1] if line]
    assert [line for line in prepare("crema_d", root) if "->" in line] == []  # a second time changes nothing
    assert (project / "params.yaml").read_text() == after


def test_msp_podcast_is_prepared_by_its_protocol(project: Path) -> None:
    said = "\n".join(prepare("msp_podcast", msp_podcast(project / "podcast", silent())))
    assert "40 clips of msp_podcast" in said
    options = load_trainer()
    assert options.finetune.target == "arousal+valence+dominance"
    assert (options.finetune.objective, options.finetune.folds, options.encoder.max_seconds) == (
        "attribute",
        "split",
        11,
    )
    assert (options.finetune.batch_size, options.finetune.lr, options.finetune.augment.on) == (128, 1e-4, False)
    assert (options.encoder.chunk_encoder, options.encoder.aggregator) == ("lstm", "rnn_attention")
    assert check(project / "params.yaml").problems == []
    # the films stay those that params.yaml names
    assert str(load_params().sets.unlabelled.manifest) == "data/synthetic/unlabelled.csv"
    # another corpus afterwards finds nothing of it, nor of classes
    set_values(project / "params.yaml", {"finetune.classes": {"a": ["anger"], "b": ["fear"]}})
    prepare("crema_d", crema_d(project / "CREMA-D", silent()))
    options, shipped = load_trainer(), load_trainer(ROOT / "params.yaml")
    assert options.encoder == shipped.encoder
    assert options.finetune.classes == {}
    assert options.finetune.lr == shipped.finetune.lr
    assert check(project / "params.yaml").problems == []


@pytest.mark.parametrize("path", sorted((ROOT / RECIPES).glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_names_keys_that_there_are(project: Path, path: Path) -> None:
    recipe = read_recipe(path.stem)
    set_values(project / "params.yaml", recipe.params)
    load_trainer()
    load_params()


def test_mistakes_are_named(project: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no recipe for a corpus 'cremad' .*crema_d, iemocap, msp_podcast"):
        prepare("cremad", tmp_path)
    with pytest.raises(InputError, match="is no folder: name the one that holds the corpus"):
        prepare("crema_d", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="AudioWAV; give --root the folder that holds the corpus"):
        prepare("crema_d", tmp_path / "empty")
    with pytest.raises(InputError, match=r"has no key finetune\.fold"):
        set_values(project / "params.yaml", {"finetune.fold": 1})
    (project / RECIPES / "odd.yaml").write_text("labelled: {corpus: folder}\nepochs: 3\n")
    with pytest.raises(InputError, match=r"odd\.yaml"):
        read_recipe("odd")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, Path | None, Path | None]]:
    """Sounds and films of five speakers of the synthetic corpus, under the names of five actors."""
    from tests.test_flow import dvc, project

    shape = {"unlabelled_speakers": 5, "clips_per_speaker": 1, "labelled_speakers": 5, "utterances_per_speaker": 8}
    folder = project(tmp_path_factory.mktemp("corpus") / "made", synthetic={**shape, "folds": 5, "dev_speakers": 1})
    dvc(folder, "repro", "synthesize")
    made = folder / "data/synthetic"
    labelled, films = (pd.read_csv(made / f"{name}.csv").set_index("clip_id") for name in ("labelled", "unlabelled"))
    actors = dict(zip(sorted(labelled["speaker"].unique()), ACTORS, strict=True))
    return [
        (actors[row["speaker"]], row["emotion"], made / row["path"], made / films.loc[clip, "path"])
        for clip, row in labelled.iterrows()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["crema_d", "msp_podcast"])
def test_the_whole_flow_runs_on_the_real_layout(clips: Any, tmp_path: Path, name: str) -> None:
    from tests.dvc_projects import done
    from tests.test_flow import project

    root = {"crema_d": crema_d, "msp_podcast": msp_podcast}[name](_made(tmp_path / "corpus"), clips)
    folder = project(
        tmp_path / "project", synthetic={"unlabelled_speakers": 5, "clips_per_speaker": 2, "labelled_films": False}
    )
    recipe = yaml.safe_load((ROOT / RECIPES / f"{name}.yaml").read_text())
    recipe["params"] |= {"pretrain.epochs": 2, "finetune.epochs": 2, "finetune.seeds": [0], "pretrain.min_class": 2}
    (folder / RECIPES).mkdir(parents=True)
    (folder / RECIPES / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    said = done(folder, "python", "-m", "avser", "corpus", name, str(root))
    assert "== stage" in said
    rows = pd.read_csv(folder / "reports/results.csv").set_index("mode")
    if name == "crema_d":
        assert set(rows["protocol"]) == {"given folds, dev: the fold before"}
        assert {"scratch", "pretrained", "svm-rbf compare"} <= set(rows.index)
        assert set(rows["label_rule"]) == {"majority"}
        assert rows.loc["pretrained", "pretrain_speakers_in_test"] == 0
        return
    assert set(rows["protocol"]) == {"given split"}
    assert rows.loc["scratch", ["ccc_arousal_mean", "ccc_valence_mean", "ccc_dominance_mean"]].notna().all()
    assert rows.loc["svm-rbf compare", "ccc_arousal_mean"] > 0.05  # planted: arousal follows the emotion; 16 train


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
