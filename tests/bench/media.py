"""Extraction against the bare libraries, on clips of the synthetic corpus or of a given folder."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
import opensmile
import soundfile
from mediapipe.python.solutions.face_mesh import FaceMesh
from threadpoolctl import threadpool_limits

from pipeline.acoustics import AcousticsConfig, AcousticsExtractor
from pipeline.audio import AudioConfig, AudioExtractor
from pipeline.contracts import ACOUSTICS
from pipeline.engine.compute import Item, RunConfig, compute
from pipeline.faces.config import FacesConfig
from pipeline.faces.extractor import FacesExtractor
from pipeline.media import decode_audio, ffmpeg_exe
from pipeline.segments import SegmentsConfig, SegmentsExtractor
from tests.bench.table import Line, in_turn

RATE = 16000  # Hz, of sound
LONG = 600.0  # s of the long recording


def lines(films: list[Path], work: Path) -> Iterator[Line]:
    """Yield the comparisons of the pipeline."""
    with threadpool_limits(1):
        yield _faces(films[:4], adaptive=False)
        yield _faces(films[:4], adaptive=True)
        yield from _sound(films, work)
    yield _workers(films, work)


def _faces(films: list[Path], *, adaptive: bool) -> Line:
    extractor = FacesExtractor(FacesConfig(adaptive=adaptive))
    mesh = FaceMesh(static_image_mode=False, max_num_faces=1, refine_landmarks=True)
    count = 0

    def bare() -> None:
        nonlocal count
        count = 0
        for film in films:
            mesh.reset()
            with av.open(str(film)) as container:
                for frame in container.decode(video=0):
                    mesh.process(frame.to_ndarray(format="rgb24"))
                    count += 1

    def ours() -> None:
        for film in films:
            extractor({"media_path": film, "start": 0.0, "end": None, "segment_id": film.stem})

    spent = in_turn(ours, bare, rounds=2)
    name = "faces, adaptive" if adaptive else "faces"
    return Line(f"{name} / decoding + bare FaceMesh", *spent, note=f"{count} frames")


def _sound(films: list[Path], work: Path) -> Iterator[Line]:
    descriptors = AcousticsExtractor(AcousticsConfig())
    audio, segments = AudioExtractor(AudioConfig()), SegmentsExtractor(SegmentsConfig())
    smile = opensmile.Smile(opensmile.FeatureSet.ComParE_2016, opensmile.FeatureLevel.LowLevelDescriptors)
    flacs = [audio({"media_path": str(film), "start": 0.0, "end": None})["flac"] for film in films]
    decoded = [decode_audio(film) for film in films]
    seconds = sum(map(len, decoded)) / RATE

    def bare() -> None:
        for samples in decoded:
            smile.process_signal(samples, RATE)

    def ours() -> None:
        for number, flac in enumerate(flacs):
            descriptors({"segment_id": str(number), "flac": flac})

    spent = in_turn(ours, bare)
    yield Line("descriptors / bare openSMILE at 10 ms", *spent, note=f"{seconds:.0f} s of sound")

    def whole(paths: list[Path]) -> int:
        count = 0
        for path in paths:
            item = {"media_path": str(path), "start": None, "end": None, "labelled": False}
            for piece in segments(item)["segments"]:
                flac = audio({"media_path": str(path), **piece})["flac"]
                descriptors({"segment_id": str(count), "flac": flac})
                count += 1
        return count

    def once(paths: list[Path]) -> None:
        for path in paths:
            smile.process_signal(_decode(path), RATE)

    recording = _recording(decoded, work)
    for paths, what in ((films, f"{len(films)} clips, {seconds:.0f} s"), ([recording], f"one of {LONG:.0f} s")):
        spent = in_turn(partial(whole, paths), partial(once, paths))
        note = f"{what}, {whole(paths)} segments"
        yield Line("segments + audio + descriptors / decode once + openSMILE", *spent, note=note)


def _recording(decoded: list[np.ndarray], work: Path) -> Path:
    """Make one long recording of the clips' sound, one after another and again, in stereo as phones record it."""
    sound = np.concatenate(decoded)
    wave, recording = work / "long.wav", work / "long.m4a"
    soundfile.write(wave, np.resize(sound, round(LONG * RATE)), RATE)
    encode = f"-loglevel error -y -i {wave} -ac 2 -ar 44100 -c:a aac {recording}"
    subprocess.run([ffmpeg_exe(), *encode.split()], check=True, stdin=subprocess.DEVNULL)
    return recording


def _decode(film: Path) -> np.ndarray:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    with av.open(str(film)) as container:
        blocks = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate(blocks)


def _workers(films: list[Path], work: Path) -> Line:
    audio = AudioExtractor(AudioConfig())
    flacs = [audio({"media_path": str(film), "start": 0.0, "end": None})["flac"] for film in films]
    extractor = AcousticsExtractor(AcousticsConfig())
    spent = []
    for workers in (1, 2):
        items = [
            Item(f"{n}-{k}", {"n": n, "k": k}, lambda n=n, k=k: {"segment_id": f"{n}-{k}", "flac": flacs[n]})
            for n in range(len(flacs))
            for k in range(12)
        ]
        run = RunConfig(workers=workers, cache=work / f"cache{workers}")
        began = time.perf_counter()
        compute("acoustics", extractor, items, schema=ACOUSTICS, run=run)
        spent.append(time.perf_counter() - began)
    return Line("descriptors with 2 workers / with 1", spent[1], spent[0], note=f"{len(items)} segments; .5 is perfect")
