"""The command ``avser predict``: a table, a line a file on the screen, and a picture if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from avser.clips import Clip, find_clips
from avser.recognising import Model, default_model, note
from pipeline.contracts import OK
from pipeline.errors import InputError

_WIDEST = 44  # letters of a file's name on the screen


def run_predict(
    sources: Sequence[Path],
    *,
    model: Path | None,
    output: Path | None,
    plot: Path | None,
    whole: bool,
    root: Path | None,
    speech_model: Path | None,
) -> bool:
    """Predict recordings, print a line a file, and write the table and the picture that are wanted.

    Returns:
        Whether any file could be used.

    Raises:
        InputError: as `avser.recognising.Model`, or ``output`` is neither CSV nor Parquet.
    """
    check_output(output)
    clips = find_clips(sources, root=root)  # before torch is loaded
    ready = Model(model or default_model(), speech_model=speech_model)
    for difference in ready.differences:
        note(f"{difference}; features can differ slightly from those of training")
    width = min(_WIDEST, max(len(clip.file) for clip in clips))

    def show(clip: Clip, rows: pd.DataFrame) -> None:
        print(line(clip, rows, ready, width=width), flush=True)

    table = ready.predict(sources, whole=whole, root=root, on_clip=show)
    good = table["status"] == OK
    print(f"{count(int(good.sum()), 'segment')} of {count(table['file'].nunique(), 'file')}", end="")
    print("" if good.all() else f"; {count(int((~good).sum()), 'row')} cannot be used, with the reason in the table")
    if output is not None:
        write(output, table)
    if plot is not None and good.any():
        from avser.picture import draw_predictions

        draw_predictions(table[good], ready, plot)
        print(f"picture: {plot}")
    return bool(good.any())


def check_output(output: Path | None) -> None:
    """Raise InputError for a table of a kind that is not written."""
    if output is not None and output.suffix not in (".csv", ".parquet"):
        raise InputError(f"{output}: name a table that ends in .csv or .parquet")


def write(output: Path, table: pd.DataFrame) -> None:
    """Write a table as a whole, CSV or Parquet by its ending, and say so."""
    from trainer.store import write_table

    write_table(output, table)
    print(f"table: {output}")


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "file"), count(2, "file")
    ('1 file', '2 files')
    """
    return f"{number} {noun}" + ("" if number == 1 else "s")


def line(clip: Clip, rows: pd.DataFrame, model: Model, *, width: int) -> str:
    """Return what the screen says of one file: the mean over its segments, weighted by their lengths."""
    name = f"{shortened(clip.file, width):<{width}}"
    usable = rows[rows["status"] == OK]
    if usable.empty:
        return f"{name}  cannot be used: {rows['reason'].iloc[0]}"
    seconds = (usable["end"] - usable["start"]).to_numpy()
    names = [f"p_{label}" if f"p_{label}" in usable else label for label in model.names]
    mean = np.average(usable[names].to_numpy(float), axis=0, weights=seconds)
    order = np.argsort(-mean, kind="stable")[:3] if model.predictor.objective.is_classes else range(len(mean))
    longest = max(map(len, model.names))
    answers = [f"{model.names[index]:<{longest}} {mean[index]:.2f}" for index in order]
    cut = "" if len(rows) == 1 else f"  mean of {count(len(usable), 'segment')}"
    lost = "" if len(usable) == len(rows) else f", {len(rows) - len(usable)} cannot be used"
    return f"{name}  {seconds.sum():7.2f} s  {'  '.join(answers)}{cut}{lost}"


def shortened(name: str, width: int) -> str:
    """Return a name that fits, its end kept.

    >>> shortened("a/long/way/to/clip.wav", 12)
    '.../clip.wav'
    """
    return name if len(name) <= width else "..." + name[3 - width :]
