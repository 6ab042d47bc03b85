"""What was planted, in tables: manifests for the pipeline, truth for the tests that compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from praatio.textgrid import IntervalTier, Textgrid

from pipeline.engine.files import replace_file, write_text
from pipeline.engine.tables import schema_metadata
from pipeline.synthetic.muscles import AU_NAMES, CHANNELS
from pipeline.synthetic.photos import PHOTOS
from pipeline.synthetic.plan import Clip, SyntheticConfig, clip_rng
from pipeline.synthetic.voice import Utterance

NOTICE = "synthetic corpus: a demonstration and a test bed; no statement about people follows from it"

AROUSED = frozenset({"anger", "fear", "happiness", "surprise"})


@dataclass(frozen=True)
class Acted:
    """Everything planted in one clip. ``channels`` (frames, 21) and ``head`` (frames, 4) are empty without film."""

    text: str
    utterance: Utterance
    seconds: float
    manner: dict[str, float]
    channels: np.ndarray
    head: np.ndarray


def write_tables(config: SyntheticConfig, clips: Sequence[Clip], rows: Sequence[Acted], out_dir: Path) -> None:
    """Write truth tables and, last, the manifests of the two sets, all atomically."""
    manifests: dict[str, list[dict[str, Any]]] = {"unlabelled": [], "labelled": []}
    truth, frames, phonemes = [], [], []
    for clip, acted in zip(clips, rows, strict=True):
        known = {"clip_id": clip.clip_id, "corpus": f"synthetic-{clip.set}", "path": clip.path}
        known |= {"speaker": clip.speaker.name, "sentence": acted.text, "language": "en"}
        if clip.set == "unlabelled":
            alignment = str(Path(clip.path).with_suffix(".TextGrid"))
            _write_alignment(out_dir / alignment, acted)
            manifests[clip.set].append(known | {"split": clip.part, "alignment": alignment})
        else:
            label = {"fold": clip.part, "emotion": clip.emotion, "label_source": "acted"}
            manifests[clip.set].append(known | label | planted_votes(clip, config))
            if clip.is_filmed:  # the film of the same utterance, without its label
                manifests["unlabelled"].append(known | {"path": clip.film, "split": "train"})
        if clip.is_filmed:
            frames.append(_frame_row(clip, acted, config.fps))
        planted = {
            "emotion": clip.emotion,
            "energy_class": "high" if clip.energy else "low",
            "activation_class": ("high" if clip.activation else "low") if clip.is_filmed else None,
            "duration": acted.seconds,
            "voice": clip.speaker.voice,
            "photo": PHOTOS[clip.face].name if clip.is_filmed else None,
        }
        truth.append(known | {"set": clip.set} | planted | {f"voice_{k}": v for k, v in acted.manner.items()})
        phonemes += [
            {"clip_id": clip.clip_id, "phoneme": sound.name, "phone": sound.phone}
            | {"start": sound.start, "end": sound.end, "viseme": sound.viseme}
            for sound in acted.utterance.phonemes
        ]
    write = {"clips": truth, "frames": frames, "phonemes": phonemes}
    for name, table in write.items():
        _write_truth(out_dir / "truth" / f"{name}.parquet", table, name, config)
    # The manifests come last: whoever finds one finds everything that it names.
    for name, table in manifests.items():
        write_text(out_dir / f"{name}.csv", pd.DataFrame(table).to_csv(index=False, lineterminator="\n"))


def _write_alignment(path: Path, acted: Acted) -> None:
    """Write the times of the phones as a forced aligner would, from espeak-ng itself."""
    spans = [(sound.start, min(sound.end, acted.seconds), sound.phone) for sound in acted.utterance.phonemes]
    grid = Textgrid(0, acted.seconds)
    grid.addTier(IntervalTier("phones", spans, 0, acted.seconds))
    replace_file(path, lambda temporary: grid.save(str(temporary), format="short_textgrid", includeBlankSpaces=True))


def planted_votes(clip: Clip, config: SyntheticConfig) -> dict[str, float]:
    """Return the votes of simulated raters: seven in ten report what was acted, others mostly what is as aroused."""
    names = config.emotions
    near = [(name in AROUSED) == (clip.emotion in AROUSED) for name in names]
    weights = np.where(near, 4.0, 1.0) * [name != clip.emotion for name in names]
    shares = 0.3 * weights / weights.sum() + 0.7 * np.array([name == clip.emotion for name in names])
    votes = clip_rng(config, f"{clip.clip_id} votes").multinomial(config.raters, shares)
    return {f"votes_{name}": float(count) for name, count in zip(names, votes, strict=True)} if config.raters else {}


def _frame_row(clip: Clip, acted: Acted, fps: float) -> dict[str, Any]:
    count = len(acted.channels)
    return {
        "clip_id": clip.clip_id,
        "n_frames": count,
        "time": np.arange(count) / fps,
        "aus": acted.channels[:, : len(AU_NAMES)].astype(np.float32).ravel(),
        "pucker": acted.channels[:, CHANNELS.index("AU18")].astype(np.float32),
        "head": acted.head.astype(np.float32).ravel(),
    }


def _write_truth(path: Path, rows: list[dict[str, Any]], name: str, config: SyntheticConfig) -> None:
    columns = {
        "clips": {
            "duration": "s",
            "energy_class": "planted loudness variation",
            "activation_class": "planted facial movement",
            "voice_pitch": "espeak-ng 0..99",
            "voice_range": "espeak-ng 0..99",
            "voice_rate": "words a minute",
            "voice_level": "dB full scale",
            "voice_tilt": "dB above 1 kHz",
            "voice_swing": "dB between words",
            "voice_evenness": "share of the contour flattened",
        },
        "frames": {
            "time": "s",
            "aus": "n_frames x 20 intensities, row-major; 1 is a strong expression",
            "pucker": "lip rounding (AU18), which the 20 lack",
            "head": "n_frames x 4: relative size, roll in degrees, shift right and down in shares of the picture",
        },
        "phonemes": {"start": "s", "end": "s", "phoneme": "espeak-ng mnemonic", "phone": "ARPABET"},
    }
    metadata = {
        "stage": "synthetic truth",
        "synthetic": True,
        "notice": NOTICE,
        "units": columns[name],
        "au_names": list(AU_NAMES),
        "config": config.model_dump(mode="json"),
    }
    table = pa.Table.from_pylist(rows).replace_schema_metadata(schema_metadata(metadata))
    replace_file(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))
