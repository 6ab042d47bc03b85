"""A face that speaks: sound in, a film of moving lips, jaw and chin out, by a model of the recipe ``orofacial``.

The one module of the trainer that needs the pipeline, and only when it runs: the sound must become features exactly as
it did in training, and the pipeline does that. Training and evaluation read shards alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.data.arrays import FloatArray
from trainer.errors import InputError
from trainer.recipes.orofacial.network import LoadedFace, load_face

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

FPS = 25.0
SIZE = 512  # px, edge of the square film
_SOUND_RATE = 44100  # Hz, of the film's sound
_SCALE, _MIDDLE = 190.0, -0.45  # px an inter-ocular distance; height that stands in the middle of the picture
_FINER = 2  # drawn so much larger and then reduced, for smooth lines
_WIDTH = 3  # px of a line

# Points of the mesh that do not move here: a resting face around the moving part. Picture's left to right.
_STILL = (
    (33, 160, 158, 133, 153, 144, 33),
    (362, 385, 387, 263, 373, 380, 362),
    (70, 63, 105, 66, 107),
    (336, 296, 334, 293, 300),
    (168, 6, 197, 195, 5),
    (98, 97, 2, 326, 327),
)
_PALE, _DARK, _RED = (170, 170, 178), (60, 60, 70), (178, 48, 56)


def animate(audio: str | Path, model: str | Path, out: str | Path, *, fps: float = FPS) -> float:
    """Write a film (mp4, H.264 and AAC) of the face that the sound of ``audio`` moves; return its length in s.

    ``audio``: any sound or video file that the pipeline reads. Raises InputError for a file without usable sound, a
    model of another kind, or an environment without the pipeline.
    """
    loaded = load_face(model)
    try:
        from pipeline.errors import InputError as PipelineError
        from pipeline.errors import Quarantined
        from pipeline.media import decode_audio
        from pipeline.synthetic.encode import write_film
    except ImportError as error:
        raise InputError(
            f"animate needs the pipeline ({error}): pip install '.[pipeline]' in the project's folder"
        ) from None
    try:
        features = features_of(audio, loaded)
        sound = decode_audio(audio, sample_rate=_SOUND_RATE)
        coordinates = loaded.spec.move(loaded.network, features)
        length = len(sound) / _SOUND_RATE
        at = np.arange(max(1, round(length * fps))) / fps
        moving = _at(coordinates, at, period=loaded.spec.frame_period, centre=_metadata(loaded)["frame_centre"])
        pictures = draw(moving, loaded.spec.scale.names)
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        write_film(Path(out), frames=pictures, size=SIZE, fps=fps, samples=sound, rate=_SOUND_RATE, crf=20)
    except (Quarantined, PipelineError) as error:
        raise InputError(f"{audio}: {error}") from None
    return len(at) / fps


def features_of(audio: str | Path, loaded: LoadedFace) -> FloatArray:
    """Return (n_frames, F) features of a file's whole sound, by the pipeline and its settings at training time."""
    from pipeline.acoustics import AcousticsConfig, AcousticsExtractor
    from pipeline.audio import AudioConfig, AudioExtractor

    config = _metadata(loaded)["config"]
    listen = AudioExtractor(AudioConfig.model_validate(config["audio"]))
    describe = AcousticsExtractor(AcousticsConfig.model_validate(config["acoustics"]))
    flac = listen({"media_path": str(audio), "start": 0.0, "end": None})["flac"]
    row = describe({"segment_id": str(audio), "flac": flac})
    features: FloatArray = np.asarray(row[config["shards"]["features"]], np.float32)
    return features.reshape(-1, len(loaded.spec.feature_names))


def _metadata(loaded: LoadedFace) -> dict[str, Any]:
    """Return what the shards of training say of themselves."""
    about: dict[str, Any] = loaded.config["shards_metadata"]
    if "frame_centre" not in about or "audio" not in about.get("config", {}):
        raise InputError(
            "the model was trained on shards that do not say how they were made: rebuild them, train again"
        )
    return about


def _at(coordinates: FloatArray, at: npt.NDArray[np.floating], *, period: float, centre: float) -> FloatArray:
    """Return (len(at), K): coordinates (n_frames, K) interpolated at the times ``at``, s."""
    known = np.arange(len(coordinates)) * period + centre
    return np.stack([np.interp(at, known, track) for track in coordinates.T], axis=1).astype(np.float32)


def draw(coordinates: FloatArray, names: tuple[str, ...]) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield a picture (SIZE, SIZE, 3) a row of ``coordinates`` (n, K), inter-ocular distances, y up.

    ``names``: ``<group>_<point>_<x or y>``; groups are drawn as lines in their order, lips closed.
    """
    from PIL import Image, ImageDraw

    from pipeline.faces.meshmodel import OVAL, mesh_model

    canonical = mesh_model().canonical[:, :2]
    start, end = OVAL.index(172), OVAL.index(397)  # where the jaw line ends; from there up the face is at rest
    above = canonical[[*OVAL[start + 1 :], *OVAL[:end]]]
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        if name.endswith("_x"):
            groups.setdefault(name.rsplit("_", 2)[0], []).append(column)
    for row in coordinates:
        image = Image.new("RGB", (SIZE * _FINER, SIZE * _FINER), "white")
        pen = ImageDraw.Draw(image)
        parts = {
            group: np.stack([row[columns], row[np.array(columns) + 1]], axis=1) for group, columns in groups.items()
        }
        for line in _STILL:
            _line(pen, canonical[list(line)], _PALE)
        if "jaw" in parts:
            _line(pen, np.concatenate([parts["jaw"][:1], above, parts["jaw"][-1:]]), _PALE)
        for group, points in parts.items():
            lips = group.startswith("lips")
            _line(pen, np.concatenate([points, points[:1]]) if lips else points, _RED if lips else _DARK)
        yield np.asarray(image.resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def _line(pen: ImageDraw, points: npt.NDArray[np.floating], colour: tuple[int, int, int]) -> None:
    half = SIZE * _FINER / 2
    places = [(half + x * _SCALE * _FINER, half - (y - _MIDDLE) * _SCALE * _FINER) for x, y in points.tolist()]
    pen.line(places, fill=colour, width=_WIDTH * _FINER, joint="curve")
