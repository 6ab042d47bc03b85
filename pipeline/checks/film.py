"""The three pseudo-labels of one film that is in no table, by what the labels of a corpus were fitted to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from pipeline import contracts
from pipeline.acoustics import AcousticsConfig, AcousticsExtractor
from pipeline.audio import AudioConfig, AudioExtractor
from pipeline.config import Config
from pipeline.contracts import OK, QUARANTINED
from pipeline.errors import InputError, Quarantined
from pipeline.faces.config import FacesConfig
from pipeline.labels import labelling, thresholds
from pipeline.labels.config import LabelsConfig, Threshold
from pipeline.labels.measure import measure
from pipeline.labels.thresholds import GLOBAL
from pipeline.segments import SegmentsConfig, SegmentsExtractor

_TASKS = ("t1", "t2")


class LabelSettings(Config):
    """Entry ``settings`` of ``data/thresholds.json``: the sections of params.yaml that the thresholds hold for."""

    segments: SegmentsConfig
    audio: AudioConfig
    acoustics: AcousticsConfig
    faces: FacesConfig
    labels: LabelsConfig


def label_film(film: Path, *, thresholds: Path, corpus: str | None = None, speaker: str | None = None) -> pd.DataFrame:
    """Label a film as if it were of a corpus: the stages' extractors, then the thresholds of that corpus.

    T3 compares with the typical face of ``speaker`` where the corpus has that speaker, else with the corpus' own.

    Args:
        film: a file with sound and a face; it is cut as the corpus was.
        thresholds: ``data/thresholds.json`` of the corpus.
        corpus: whose thresholds; None: the speaker's, the only one there is, or those of all films together, with the
            mean of the corpora's typical faces.
        speaker: of that corpus.

    Returns:
        One row a segment: ``file``, ``segment_id``, ``start``, ``end`` (s), ``status``, ``reason``; the columns of
        ``data/pseudo_labels`` (``t1_stat`` ... ``valid_ratio``); ``t1_low``, ``t1_high``, ``t2_low``, ``t2_high``, the
        thresholds; ``t1_margin``, ``t2_margin``, how far the statistic is above (below: negative) the nearer one; and
        ``t3_baseline``, whose face T3 compared with.

    Raises:
        InputError: there are no thresholds, they are of an older version, or the corpus or speaker is unknown.
    """
    fitted, settings = _read(thresholds)
    corpus = _corpus(fitted, corpus, speaker, thresholds)
    face = _known_face(fitted, corpus, speaker, thresholds)
    if not film.exists():
        raise InputError(f"{film}: there is no such file")
    segments = _cut(film, settings)
    usable = [row for row in segments if row["status"] == OK]
    table = pd.DataFrame(segments)
    if not usable:
        return table
    measured = measure(
        pd.DataFrame({**{key: [row[key] for row in usable] for key in ("segment_id", "clip_id")}, "corpus": corpus,
                      "speaker": speaker or "", "split": ""}),
        acoustics=_sounds(film, usable, settings),
        faces=_faces(film, usable, settings),
        frame_period=settings.acoustics.frame_step,
        frame_size=settings.acoustics.frame_size,
        config=settings.labels,
    )  # fmt: skip
    found = labelling.label(measured, fitted, settings.labels, baselines=dict.fromkeys(measured.tracks, face))
    columns = contracts.pseudo_labels(fitted["t3"]["emotions"]).names[5:]  # what is measured, after where it is from
    found = _with_thresholds(found, fitted, settings.labels)[[*columns, *(f"{t}_{x}" for t in _TASKS for x in _EDGES)]]
    found["t3_baseline"] = (
        ("all corpora" if corpus == GLOBAL else f"corpus {corpus}") if speaker is None else f"speaker {speaker}"
    )
    table = table.join(found, on="segment_id").drop(columns=["clip_id", "has_video"])
    return table.astype({name: "str" for name in table if str(name).endswith(("label", "reason", "status"))})


_EDGES = ("low", "high", "margin")


def _read(path: Path) -> tuple[dict[str, Any], LabelSettings]:
    try:
        fitted = json.loads(path.read_text(encoding="utf-8"))
        settings = fitted["settings"]
        return fitted, LabelSettings.model_validate(settings)
    except FileNotFoundError:
        raise InputError(
            f"{path} not found: the thresholds of a corpus come with its labels (dvc repro pseudo_labels); name the "
            "file with --thresholds"
        ) from None
    except (KeyError, TypeError):
        raise InputError(f"{path} does not say what it holds for: make it again (dvc repro pseudo_labels)") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise InputError(f"{path}: settings of another version ({wrong}): make it again (dvc repro)") from None
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}): make it again (dvc repro pseudo_labels)") from None


def _corpus(fitted: dict[str, Any], corpus: str | None, speaker: str | None, path: Path) -> str:
    """Return whose thresholds count: the named corpus, the only one, that of the speaker, or those of all."""
    known = sorted(fitted["t3"]["typical_face"])
    if corpus is None and len(known) == 1:
        return str(known[0])
    if corpus is None:
        theirs = [name for name in known if f"{name}/{speaker}" in fitted["t3"]["speaker_face"]]
        if len(theirs) > 1:
            raise InputError(f"{path}: speaker {speaker!r} is in {', '.join(theirs)}: name one with --corpus")
        return str(theirs[0]) if theirs else GLOBAL
    if corpus not in known:
        raise InputError(
            f"{path} is of the corpora {', '.join(known)}: {corpus!r} is none of them; name one with --corpus"
        )
    return corpus


def _known_face(fitted: dict[str, Any], corpus: str, speaker: str | None, path: Path) -> np.ndarray:
    """Return the typical face (n_units,) to compare with, in the precision that the stage has it."""
    faces = fitted["t3"]["speaker_face"]
    if speaker is None:
        typical = fitted["t3"]["typical_face"]
        if not typical:
            raise InputError(
                f"{path} knows no typical face: no film has a good enough one; see the reasons in data/pseudo_labels"
            )
        return np.mean(list(typical.values()), axis=0) if corpus == GLOBAL else np.array(typical[corpus])
    if f"{corpus}/{speaker}" not in faces:
        known = sorted(name.removeprefix(f"{corpus}/") for name in faces if name.startswith(f"{corpus}/"))
        some = f"it has those of {', '.join(known[:8])}{' ...' * (len(known) > 8)}" if known else "it has none"
        raise InputError(f"{path} has no typical face of speaker {speaker!r} of {corpus}: {some}")
    return np.array(faces[f"{corpus}/{speaker}"], np.float32)


def _cut(film: Path, settings: LabelSettings) -> list[dict[str, Any]]:
    where = {"file": str(film), "clip_id": film.stem}
    try:
        cut = SegmentsExtractor(settings.segments)({"media_path": str(film)})
    except Quarantined as reason:
        return [{**where, "segment_id": film.stem, "start": np.nan, "end": np.nan, "status": QUARANTINED,
                 "reason": str(reason)}]  # fmt: skip
    return [
        {**where, "segment_id": f"{film.stem}#{number:03d}", **piece, "status": OK, "reason": None,
         "has_video": cut["has_video"]}
        for number, piece in enumerate(cut["segments"])
    ]  # fmt: skip


def _sounds(film: Path, rows: list[dict[str, Any]], settings: LabelSettings) -> list[dict[str, Any]]:
    # The labels look at level and voicing alone.
    config = settings.acoustics.model_copy(update={"logmel": False, "speech_model": AcousticsConfig().speech_model})
    decode, describe = AudioExtractor(settings.audio), AcousticsExtractor(config)

    def hear(row: dict[str, Any]) -> dict[str, Any]:
        return describe(decode({**row, "media_path": str(film)}))

    return [_row(row, hear, contracts.ACOUSTICS) for row in rows]


def _faces(film: Path, rows: list[dict[str, Any]], settings: LabelSettings) -> list[dict[str, Any]]:
    from pipeline.faces.extractor import FacesExtractor

    extractor = FacesExtractor(settings.faces)

    def look(row: dict[str, Any]) -> dict[str, Any]:
        return extractor({**row, "media_path": str(film)})

    return [_row(row, look, contracts.FACES) for row in rows]


def _row(
    segment: dict[str, Any], extract: Callable[[dict[str, Any]], dict[str, Any]], schema: pa.Schema
) -> dict[str, Any]:
    """Return a row of a table as it would be stored: the types of its schema, or the reason why it is not usable."""
    segment_id = segment["segment_id"]
    try:
        with threadpool_limits(1):  # as in the workers of the stages: sums depend on it in the last bit
            found = extract(segment)
    except Quarantined as reason:
        return {"segment_id": segment_id, "status": QUARANTINED, "reason": str(reason)}
    kinds = {field.name: field.type.value_type.to_pandas_dtype() for field in schema if pa.types.is_list(field.type)}
    stored = {name: np.asarray(value, kinds[name]) if name in kinds else value for name, value in found.items()}
    return {**stored, "segment_id": segment_id, "status": OK, "reason": None}


def _with_thresholds(rows: pd.DataFrame, fitted: dict[str, Any], config: LabelsConfig) -> pd.DataFrame:
    """Add the thresholds that each row was held against and the distance to the nearer one."""
    of: dict[str, Threshold] = {"t1": config.energy_variation.threshold, "t2": config.facial_activation.threshold}
    for task, threshold in of.items():
        groups = thresholds.used_groups(rows, fitted[task], threshold.scope)
        edges = np.array([(np.nan, np.nan) if group is None else fitted[task][group] for group in groups], float)
        rows[f"{task}_low"], rows[f"{task}_high"] = edges.T
        away = rows[f"{task}_stat"].to_numpy(float)[:, None] - edges
        nearer = np.nan_to_num(np.abs(away), nan=np.inf).argmin(axis=1)
        rows[f"{task}_margin"] = away[np.arange(len(rows)), nearer]
    return rows
