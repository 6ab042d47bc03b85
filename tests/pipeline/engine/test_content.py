from __future__ import annotations

import os

import pytest

from pipeline.engine import content
from pipeline.engine.content import Source, hash_file
from pipeline.errors import Transient


def source_of(path):
    return Source(str(path), hash_file(path))


def test_other_content_under_the_name_is_noticed_and_the_old_one_is_welcome_again(tmp_path):
    film = tmp_path / "film"
    film.write_bytes(b"one")
    source = source_of(film)
    before = source.check()
    source.check_unchanged(before)
    other = tmp_path / "other"
    other.write_bytes(b"two")
    film.rename(tmp_path / "kept")
    other.rename(film)
    with pytest.raises(Transient, match="content"):
        source.check()
    film.unlink()
    with pytest.raises(Transient, match="cannot be read"):
        source.check()
    (tmp_path / "kept").rename(film)
    source.check()
    with pytest.raises(Transient, match="changed while"):  # what was read in between, nobody knows
        source.check_unchanged(before)


def test_times_that_are_set_back_hide_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "CLOCK_STEP", 0)
    film = tmp_path / "film"
    film.write_bytes(b"one")
    source, times = source_of(film), film.stat()
    source.check()
    film.write_bytes(b"two")
    os.utime(film, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(Transient):
        source.check()


def test_a_large_film_is_hashed_once_for_all_its_segments(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "CLOCK_STEP", 0)
    film = tmp_path / "film"
    film.write_bytes(b"one")
    source, read = source_of(film), []
    monkeypatch.setattr(content, "hash_file", lambda path: read.append(path) or hash_file(path))
    for _ in range(3):
        source.check_unchanged(source.check())
    assert len(read) == 1
