"""A small project made by the real stages: generated speech to shards to fine-tuned models."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from pipeline.params import Params as PipelineParams
from tests.pipeline.conftest import speech_like
from trainer.params import parse_params

RATE = 16000
EMOTIONS = ("anger", "neutral")


@dataclass(frozen=True)
class Project:
    """Where a finished project lies, and what its evaluation found."""

    folder: Path
    predictions: pd.DataFrame  # of every fold, by the kept model of that fold

    @property
    def manifest(self) -> Path:
        return self.folder / "labelled.csv"

    def model(self, fold: str) -> Path:
        return self.folder / "models" / "toy" / "scratch" / f"{fold.replace(' ', '_')}_seed0"


def write_clips(folder: Path) -> Path:
    """Write 16 sound files of 4 speakers, and their manifest; one emotion is louder and changes faster."""
    rows = []
    for number in range(16):
        speaker, emotion = "abcd"[number // 4], EMOTIONS[number % 2]
        seconds = 1.2 + 0.15 * number
        sound = speech_like([(0.2, False), (seconds, True), (0.2, False)], seed=number)
        time = np.arange(len(sound)) / RATE
        if emotion == "anger":
            sound = sound * (1.6 + np.sin(2 * np.pi * 7 * time))
        path = folder / f"{speaker}_{number:02d}.wav"
        soundfile.write(path, np.clip(sound * 0.6, -1, 1), RATE, subtype="PCM_16")
        rows.append({"clip_id": path.stem, "corpus": "toy", "path": path.name, "speaker": speaker, "emotion": emotion,
                     "label_source": "acted", "votes_anger": 3.0 if emotion == "anger" else 1.0,
                     "votes_neutral": 3.0 if emotion == "neutral" else 0.0, "arousal": 1.0 + number % 5})  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "labelled.csv", index=False)
    return folder / "labelled.csv"


def make_shards(manifest: Path, **sections: object) -> Path:
    """Run the stages of the labelled set in the current folder; return the shards."""
    from pipeline.stages.acoustics import run_acoustics
    from pipeline.stages.audio import run_audio
    from pipeline.stages.segments import run_segments
    from pipeline.stages.shards import run_shards

    chosen = {"manifest": manifest, "root": manifest.parent}
    base = {"sets": {"unlabelled": chosen, "labelled": chosen}, "run": {"workers": 1}}
    params = PipelineParams.model_validate(base | sections)
    for stage in (run_segments, run_audio, run_acoustics, run_shards):
        stage(params, "labelled")
    return Path("data/shards/labelled").resolve()


def train(shards: Path, folder: Path, *, layers: int = 1, **finetune: object) -> pd.DataFrame:
    """Fine-tune from scratch and keep every model in ``folder / models``; return the predictions of all folds."""
    from trainer.finetuning.finetune import finetune as run

    options = {"modes": ["scratch"], "seeds": [0], "folds": 2, "epochs": 3, "batch_size": 8, "lr": 0.01, "keep": "all",
               "augment": {}, "head_hidden": 8}  # fmt: skip
    encoder = {"widths": [8], "kernel": 3, "hidden": 8, "dropout": 0.0, "layers": layers}
    params = parse_params({"encoder": encoder, "finetune": options | finetune})
    run(shards, folder / "none", folder / "models", folder / "reports", params, cache=folder / "cache")
    return pd.read_parquet(folder / "reports" / "predictions.parquet")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    manifest = write_clips(folder)
    with contextlib.chdir(folder):
        predictions = train(make_shards(manifest), folder)
    return Project(folder, predictions)
