"""Which ffmpeg runs, and which files are refused before anything opens them."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline import media
from pipeline.errors import InputError, Quarantined
from pipeline.media import files


def test_ffmpeg_runs_and_tells_its_version() -> None:
    done = subprocess.run([media.ffmpeg_exe(), "-version"], capture_output=True, text=True, check=True)
    assert media.ffmpeg_version() in done.stdout


def test_ffmpeg_can_be_chosen_and_a_wrong_choice_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "ffmpeg"
    own.write_text("#!/bin/sh\necho ffmpeg version own-7\n")
    own.chmod(0o755)
    monkeypatch.setenv("AVSER_FFMPEG", str(own))
    assert (media.ffmpeg_exe(), media.ffmpeg_version()) == (str(own), "own-7")
    monkeypatch.setenv("AVSER_FFMPEG", "/nowhere/ffmpeg")
    with pytest.raises(InputError, match="AVSER_FFMPEG=/nowhere/ffmpeg"):
        media.ffmpeg_exe()


def test_bundled_ffmpeg_serves_where_the_system_has_none_that_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ffmpeg").write_text("not a program")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.delenv("AVSER_FFMPEG", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    files._ffmpeg.cache_clear()
    try:
        assert "imageio_ffmpeg" in media.ffmpeg_exe()
    finally:
        files._ffmpeg.cache_clear()


def test_content_hash(film: Path) -> None:
    assert media.content_hash(film) == hashlib.sha256(film.read_bytes()).hexdigest()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (LFS, "git lfs pull"),
        (b"just a note\n" * 50, "text"),
        ("dünn und schön\n".encode() * 400, "text"),
        (b"\n<!DOCTYPE html>\n<html>404</html>", "web page"),
        (b"/annex/objects/SHA256E-s1--2.mp4\n", "git annex get"),
        (b"#EXTM3U\n", "playlist"),
        (b"ffconcat version 1.0\nfile x.mp4\n", "concat"),
        (b"v=0\r\nm=audio 5004 RTP/AVP 0\r\n", "SDP"),
        (b'<?xml version="1.0"?>\n<MPD></MPD>', "DASH"),
        (bytes(range(256)) * 40, "not a readable media file"),
    ],
)
def test_impostors_are_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(Quarantined, match=reason):
        media.probe(path)
    if reason != "not a readable media file":
        with pytest.raises(Quarantined, match=reason):
            media.content_hash(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(Quarantined, match="no such file"):
        media.probe(tmp_path / "gone.mp4")
    with pytest.raises(Quarantined, match="folder"):
        media.probe(tmp_path)


@pytest.mark.parametrize("name", ["-i.mp4", "http:x.mp4", "concat:a|b.mp4", "%03d.mp4", "ä ö;'.mp4", "file:x.mp4"])
def test_names_are_taken_literally(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(film, name)
    assert media.probe(name).has_video
    assert len(media.decode_audio(name, end=0.5)) == 8000
    assert len(list(media.frames(name, end=0.5))) == 13


def test_addresses_are_no_files() -> None:
    with pytest.raises(Quarantined, match="no such file"):
        media.probe("http://127.0.0.1/x.mp4")


def test_every_ending_of_the_formats_is_listed():
    import av

    from pipeline.media.files import AUDIO, FORMATS, VIDEO

    known = set()
    for name in FORMATS.split(","):
        for mode in ("r", "w"):
            with contextlib.suppress(ValueError):
                known |= av.format.ContainerFormat(name, mode).extensions
    # Pictures, subtitles and a list of streams share a format with films.
    assert {f".{ending}" for ending in known - {"heic", "heif", "avif", "mks", "ism"}} <= AUDIO | VIDEO
    assert not AUDIO & VIDEO


def test_a_name_in_another_unicode_form_is_found(tmp_path):
    (tmp_path / "e\u0301.wav").write_bytes(b"RIFF\xff\xff")
    assert media.content_hash(tmp_path / "\u00e9.wav") == media.content_hash(tmp_path / "e\u0301.wav")
