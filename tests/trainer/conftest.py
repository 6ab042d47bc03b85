"""Tiny generated shards: random, but learnable, so that a trained network must beat chance."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from trainer.params import Params, parse_params

settings.register_profile("trainer", deadline=None, max_examples=40)  # a busy machine is no failure
settings.load_profile("trainer")

N_FEATURES = 6
FRAME_PERIOD = 0.05  # s; a chunk of one second is 20 frames
EMOTIONS = ("anger", "neutral", "sadness")


def write_part(path: Path, rows: list[dict[str, Any]], *, metadata: dict[str, Any] | None = None) -> None:
    """Write rows as one part under the shard contract."""
    content = {
        "contract": 1,
        "stage": "shards",
        "feature_names": [f"f{number}" for number in range(N_FEATURES)],
        "frame_period": FRAME_PERIOD,
        "config": {"note": "generated"},
        "thresholds": {
            "t1_stat": {"quantiles": [0.6, 0.6], "scope": "corpus", "min_segments": 4},
            "t2_stat": {"quantiles": [0.5, 0.5], "scope": "corpus", "min_segments": 4},
        },
    } | (metadata or {})
    numbers = ("t1_stat", "t2_stat", "t3_confidence", "arousal", "valence", "dominance", "intensity", "level")
    lists = dict.fromkeys(("features", "dense", "mouth"), pa.list_(pa.float32())) | {"viseme": pa.list_(pa.int8())}
    types = {"n_frames": pa.int32(), **lists, **dict.fromkeys(numbers, pa.float64())}
    types |= {name: pa.float64() for name in rows[0] if name.startswith("votes_")}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in rows[0]])
    table = pa.Table.from_pylist(rows, schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({b"avser": json.dumps(content).encode()}), path)


def labelled_rows(
    corpus: str = "toy",
    *,
    speakers: Sequence[str] = ("a", "b", "c", "d", "e", "f"),
    per_class: int = 4,
    emotions: Sequence[str] = EMOTIONS,
    signal: float = 1.2,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Utterances of 0.5 to 3 s whose class shifts two features; every speaker has a voice of their own."""
    rng = np.random.default_rng(seed)
    rows = []
    for speaker in speakers:
        voice = rng.normal(0, 0.3, N_FEATURES)
        for number, emotion in enumerate(list(emotions) * per_class):
            n_frames = int(rng.integers(10, 60))
            frames = rng.normal(0, 1, (n_frames, N_FEATURES)) + voice
            frames[:, list(emotions).index(emotion) % N_FEATURES] += signal
            frames = frames * 50 + 1000  # raw features are not normalised
            clip = f"{corpus}_{speaker}_{number:02d}"
            rows.append(
                {
                    "segment_id": f"{clip}#000",
                    "clip_id": clip,
                    "corpus": corpus,
                    "speaker": speaker,
                    "split": None,
                    "fold": None,
                    "n_frames": n_frames,
                    "features": frames.astype(np.float32).ravel().tolist(),
                    "emotion": emotion,
                    "label_source": "acted",
                }
            )
    return rows


def unlabelled_rows(
    corpus: str = "talk", *, speakers: Sequence[str] = ("u", "v", "w", "x"), per_speaker: int = 12, seed: int = 1
) -> list[dict[str, Any]]:
    """Segments whose pseudo-labels follow features 0, 1 and 2; a tenth of the labels is missing."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in labelled_rows(corpus, speakers=speakers, per_class=per_speaker // 3, seed=seed):
        frames = np.array(row["features"]).reshape(-1, N_FEATURES)
        for feature in (1, 2):
            frames[:, feature] += rng.choice([-60.0, 60.0])
        means = frames.mean(axis=0)
        labels = {
            "t1_label": "high" if row["emotion"] == "anger" else "low",
            "t2_label": "high" if means[1] > 1000 else "low",
            "t3_label": "happiness" if means[2] > 1000 else "neutral",
        }
        missing = {name: None if rng.random() < 0.1 else label for name, label in labels.items()}
        # what thresholds make the labels of T1 and T2 of; those in write_part fit them
        statistics = {"t1_stat": float(row["emotion"] == "anger"), "t2_stat": float(means[1])}
        statistics = {
            name: None if missing[f"{name[:2]}_label"] is None else value for name, value in statistics.items()
        }
        del row["emotion"], row["label_source"]
        rows.append({**row, "features": frames.ravel().tolist(), **missing, **statistics, "t3_confidence": 0.5})
    return rows


TRACKS = {"names": ["energy", "AU12"], "groups": {"energy": ["energy"], "aus": ["AU12"]}}


def dense_rows(**options: Any) -> list[dict[str, Any]]:
    """Unlabelled rows whose AU12 is what feature 3 says, around a level of the speaker's own; energy follows 4."""
    rng = np.random.default_rng(3)
    rows = unlabelled_rows(**options)
    level = {speaker: rng.normal(0, 50) for speaker in sorted({row["speaker"] for row in rows})}
    for row in rows:
        frames = np.array(row["features"]).reshape(-1, N_FEATURES)
        knots = np.arange(0, len(frames) + 8, 8)
        slow = np.interp(np.arange(len(frames)), knots, rng.normal(size=len(knots)))
        frames[:, 3] += 150 * slow
        tracks = np.stack([(frames[:, 4] - 1000) / 50, 2 * slow + level[row["speaker"]]], axis=1)
        tracks[rng.random(len(frames)) < 0.1, 1] = np.nan  # no face in these frames
        row["features"] = frames.ravel().tolist()
        row["dense"] = tracks.astype(np.float32).ravel().tolist()
    rows[0]["dense"] = None
    return rows


def rated_rows(**options: Any) -> list[dict[str, Any]]:
    """`labelled_rows` with ten raters who lean to the emotion, an arousal that the first feature tells, and a rule."""
    rng = np.random.default_rng(9)
    rows = labelled_rows(**options)
    for number, row in enumerate(rows):
        share = np.full(len(EMOTIONS), 0.15)
        share[EMOTIONS.index(row["emotion"])] = 0.7
        votes = rng.multinomial(10, share)
        row |= {f"votes_{name}": float(count) for name, count in zip(EMOTIONS, votes, strict=True)}
        row |= {"votes_other": float(number % 3), "label_source": "voice", "label_rule": "plurality"}
        row["arousal"] = float(np.mean(row["features"][::N_FEATURES]) / 50 - 17 + rng.normal(0, 0.2))
        row["intensity"] = float(1 + number % 2)
    return rows


@pytest.fixture
def make_shards(tmp_path: Path) -> Callable[..., Path]:
    """Write rows into a shard folder of two parts and return it."""

    def make(name: str, rows: list[dict[str, Any]], **metadata: Any) -> Path:
        folder = tmp_path / "shards" / name
        half = len(rows) // 2
        for number, part in enumerate((rows[:half], rows[half:])):
            if part:
                write_part(folder / f"part-{number:03d}.parquet", part, metadata=metadata)
        return folder

    return make


def digest(folder: Path) -> dict[str, str]:
    """Return file name to SHA-256 of everything in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def flip(path: Path, *, at: int | None = None) -> None:
    """Turn one bit of a file around, in its middle or at a byte."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    path.write_bytes(content)


@pytest.fixture
def tiny() -> Callable[..., Params]:
    """Parameters that train in a second; sections given by keyword are laid over them."""

    def make(**sections: dict[str, Any]) -> Params:
        schedule = {"epochs": 8, "patience": 8, "batch_size": 16, "lr": 0.01, "head_hidden": 8}
        early = {"dev": "speakers", "monitor": "score", "lr_schedule": "constant", "augment": {}}
        base: dict[str, dict[str, Any]] = {
            "encoder": {"widths": [8], "kernel": 3, "hidden": 8, "dropout": 0.1, "max_seconds": 3.0},
            "pretrain": {**schedule, "tasks": [1, 2, 3], "dense": [], "monitor": "score", "min_class": 2},
            "finetune": {**schedule, "seeds": [0], "folds": 3, "transfer": "all", **early},
            "report": {"summary": ""},
        }
        for name, section in sections.items():
            base[name] = {**base.get(name, {}), **section}
        return parse_params(base)

    return make
