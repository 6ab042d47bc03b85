"""Only local media files are opened: what points elsewhere reaches nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline import media
from pipeline.errors import Quarantined
from pipeline.media import files
from pipeline.media.graph import sound_graph
from pipeline.media.info import describe
from pipeline.media.sound import _Reader
from tests.pipeline.conftest import counting_images, tone


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
        reader = _Reader(path, info, sound_graph(info, sample_rate=16000, seek=0))
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
