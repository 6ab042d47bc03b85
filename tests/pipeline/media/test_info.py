"""What a file holds, and whether all of it is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import media
from pipeline.errors import Quarantined
from tests.pipeline.conftest import RATE, counting_images, run_ffmpeg, tone


def test_probe(film: Path) -> None:
    info = media.probe(film)
    assert (info.has_audio, info.has_video, info.sample_rate) == (True, True, RATE)
    assert (info.width, info.height, info.rotation) == (64, 48, 0)
    assert info.fps == pytest.approx(25)
    assert info.duration == pytest.approx(2.0, abs=0.03)
    assert "mp4" in info.format
    media.check_complete(film, info)


def test_mp4_without_its_index(make_film: Callable[..., Path]) -> None:
    path = make_film(counting_images(50), tone(2.0))  # the index (moov) is at the end
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"moov") - 100])
    with pytest.raises(Quarantined, match="moov atom missing"):
        media.probe(path)
    path.write_bytes(whole[:-2000])
    with pytest.raises(Quarantined, match="cut off"):
        media.probe(path)


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.flv", "cut.avi"])
def test_file_cut_off_in_the_middle(make_film: Callable[..., Path], name: str) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (100, 48, 64, 3), dtype=np.uint8)  # so that bytes are spread evenly over time
    options = ["-movflags", "+faststart"] if name.endswith("mp4") else []
    path = make_film(noise, tone(4.0), name=name, options=options)
    media.check_complete(path, media.probe(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Quarantined, match="cut off"):
        media.check_complete(path, media.probe(path))
    if name.endswith("mp4"):  # the others do not state how long each stream is
        with pytest.raises(Quarantined, match="the sound ends at"):
            media.decode_audio(path)
        with pytest.raises(Quarantined, match="the video ends at"):
            list(media.frames(path))
        assert len(media.decode_audio(path, end=1.0)) == 16000  # what is there can be had


def test_cover_pictures_are_no_video(make_film: Callable[..., Path], film: Path, tmp_path: Path) -> None:
    cover = tmp_path / "cover.png"
    run_ffmpeg("-f", "lavfi", "-i", "color=red:s=640x480", "-frames:v", "1", cover)
    song = tmp_path / "song.mp3"
    run_ffmpeg("-i", film, "-i", cover, "-map", "0:a", "-map", "1:v", "-disposition:v:0", "attached_pic", song)
    info = media.probe(song)
    assert (info.has_audio, info.has_video, info.fps) == (True, False, None)
    with pytest.raises(Quarantined, match="no video"):
        next(media.frames(song))
    both = tmp_path / "both.mp4"
    streams = ["-map", "0:v", "-map", "1:v", "-map", "1:a"]
    run_ffmpeg("-i", cover, "-i", film, *streams, "-c", "copy", "-disposition:v:0", "attached_pic", both)
    info = media.probe(both)
    assert (info.width, info.height) == (64, 48)
    assert next(media.frames(both)).image.shape == (48, 64, 3)


def test_streams_that_are_not_there(make_film: Callable[..., Path], make_sound: Callable[..., Path]) -> None:
    silent = make_film(counting_images(10))
    with pytest.raises(Quarantined, match="no audio stream"):
        media.decode_audio(silent)
    with pytest.raises(Quarantined, match="no video stream"):
        next(media.frames(make_sound(tone(0.5, rate=16000))))
