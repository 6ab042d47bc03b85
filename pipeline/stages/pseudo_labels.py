"""Stage ``pseudo_labels``: statistics a segment, thresholds fitted on train rows, one plain table for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from pipeline import contracts
from pipeline.engine.files import write_json
from pipeline.engine.packing import write_frame
from pipeline.engine.places import DATA, check_made_from, fingerprint, table, usable_segments, writing
from pipeline.engine.progress import progress
from pipeline.engine.tables import iter_rows, parts, read_metadata, read_table
from pipeline.labels import labelling
from pipeline.labels.measure import ACOUSTIC_COLUMNS, FACE_COLUMNS, measure
from pipeline.params import Params

FOLDER = DATA / "pseudo_labels"
FITTED = DATA / "thresholds.json"
NAME = "unlabelled"
ORIGIN = ["segment_id", "clip_id", "corpus", "speaker", "split"]


def run_pseudo_labels(params: Params) -> None:
    """Write ``data/pseudo_labels`` and ``data/thresholds.json``."""
    with writing(FOLDER, params.run.folder):
        _write_labels(params)


def _write_labels(params: Params) -> None:
    config = params.labels
    segments = usable_segments(NAME)
    for stage in ("acoustics", "faces"):
        check_made_from(table(stage, NAME), segments)
    origin = segments.rows.select(ORIGIN).to_pandas()
    acoustics = read_metadata(table("acoustics", NAME))
    measured = measure(
        origin,
        acoustics=iter_rows(table("acoustics", NAME), ACOUSTIC_COLUMNS),
        faces=_counted(iter_rows(table("faces", NAME), FACE_COLUMNS), len(origin)),
        frame_period=acoustics["frame_period"],
        frame_size=acoustics["frame_size"],
        config=config,
    )
    # The faces table says which units its backend reads and how far each can be trusted.
    about = read_metadata(table("faces", NAME))
    fitted = labelling.fit(measured, config, units=about["aus"], trust=about["au_reliability"])
    labels = labelling.label(measured, fitted, config)
    schema = contracts.pseudo_labels(fitted["t3"]["emotions"])
    metadata = {
        "stage": "pseudo_labels",
        "segments": fingerprint(segments),
        "config": config.model_dump(mode="json"),
        "t3_reliability": fitted["t3"]["reliability"],
        "units": {
            "t1_stat": "dB",
            "t2_stat": "inter-ocular distances a second",
            "t3_*": "train standard deviations above the speaker's typical face",
            "t3_reliability": "mean reliability of the action units that an emotion rests on, 0 to 1",
        },
    }
    write_frame(FOLDER, pa.Table.from_pandas(labels, schema=schema, preserve_index=False), metadata=metadata)
    # With the settings that they hold for, the thresholds label other films alike (`avser labels`).
    settings = {stage: _settings(stage) for stage in ("segments", "audio", "acoustics", "faces")}
    write_json(FITTED, {**fitted, "settings": settings | {"labels": config.model_dump(mode="json")}})


def _settings(stage: str) -> dict[str, Any]:
    """Return the section of params.yaml that a table was made with."""
    settings: dict[str, Any] = read_metadata(table(stage, NAME))["identity"]["config"]
    return settings


def _counted(rows: Iterable[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    with progress("face statistics", total) as ticker:
        for row in rows:
            yield row
            ticker.advance()


def label_rows(columns: Sequence[str]) -> pa.Table:
    """Return columns of the pseudo-label table, rows in any order."""
    return ds.dataset(parts(FOLDER), format="parquet").to_table(columns=list(columns))


def read_labels() -> pd.DataFrame:
    """Return the pseudo-label table; an error names the stage that makes it."""
    return read_table(FOLDER)
