"""avser: the face teaches the voice. The front door to both halves, which are imported when they are needed."""

from __future__ import annotations

from importlib.metadata import version as _version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from avser.recognising import Model

__version__ = _version("avser")
__all__ = ["extract", "labels", "load"]


def load(folder: str | Path = "models/final", *, speech_model: str | Path | None = None) -> Model:
    """Load a fine-tuned model.

    Args:
        folder: model folder.
        speech_model: folder of the speech model that its features come from, where it has moved.

    Returns:
        A model whose `avser.recognising.Model.predict` hears files, folders and manifests.

    Raises:
        pipeline.errors.InputError, trainer.errors.InputError: it is no such folder, or its features cannot be made.

    Example::

        import avser
        model = avser.load("models/final")
        model.predict("interview.wav")[["start", "end", "emotion", "confidence"]]
    """
    from avser.recognising import Model

    return Model(folder, speech_model=speech_model)


def extract(
    source: str | Path, *, model: str | Path | None = None, start: float | None = None, end: float | None = None
) -> pd.DataFrame:
    """Compute the acoustic features of a recording, as the pipeline does.

    Args:
        source: sound or film file; it is not cut.
        model: model folder whose features are wanted; None: those of ``params.yaml`` here, else the defaults.
        start: s, of a stretch in it.
        end: s.

    Returns:
        (n_frames, n_features) float32; columns are the names, the index ``time`` is the middle of a frame, s.

    Raises:
        pipeline.errors.Quarantined: the recording cannot be used; says why.
        pipeline.errors.InputError: the features cannot be made here.

    Example::

        avser.extract("interview.wav")["F0final_sma"].plot()
    """
    from avser.extraction import extract_features

    return extract_features(source, model=model, start=start, end=end)


def labels(
    film: str | Path,
    *,
    thresholds: str | Path = "data/thresholds.json",
    corpus: str | None = None,
    speaker: str | None = None,
) -> pd.DataFrame:
    """Return the three pseudo-labels of a film, and why: see `pipeline.checks.film.label_film`.

    Example::

        avser.labels("film.mp4")[["t1_label", "t2_label", "t3_label", "t3_reason"]]
    """
    from pipeline.checks.film import label_film

    return label_film(Path(film), thresholds=Path(thresholds), corpus=corpus, speaker=speaker)
