from __future__ import annotations

import errno
import threading

import pytest

from pipeline.engine.files import remove_leftovers, replace_file, replace_folder, write_json
from pipeline.errors import InputError


def fail(path):
    (path / "half" if path.is_dir() else path).write_text("half")
    raise OSError("disk full")


def test_a_failing_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"b": 1})
    with pytest.raises(OSError, match="disk full"):
        replace_file(path, fail)
    assert path.read_text() == '{\n  "b": 1\n}\n'
    assert list(path.parent.iterdir()) == [path]


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "params.yaml"
    write_json(path, 1)
    path.chmod(0o640)
    write_json(path, 2)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "deep" / "table"
    replace_folder(folder, lambda new: (new / "old").write_text("1"))
    with pytest.raises(OSError, match="disk full"):
        replace_folder(folder, fail)
    assert [path.name for path in folder.iterdir()] == ["old"]
    replace_folder(folder, lambda new: (new / "new").write_text("2"))
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_full_disk_is_a_sentence_that_names_the_folder(tmp_path):
    def full(_path):
        raise OSError(errno.ENOSPC, "No space left on device")

    for replace, name in ((replace_file, "file"), (replace_folder, "folder")):
        with pytest.raises(InputError, match=f"cannot write to {tmp_path}/deep: No space left"):
            replace(tmp_path / "deep" / name, full)
    assert not list((tmp_path / "deep").iterdir())


def test_a_reader_finds_the_old_folder_or_the_new_one_whoever_writes(tmp_path):
    folder = tmp_path / "table"
    replace_folder(folder, lambda new: (new / "part").write_text("first"))

    def write(word):
        for number in range(60):
            replace_folder(folder, lambda new, text=f"{word} {number}": (new / "part").write_text(text))

    writers = [threading.Thread(target=write, args=(word,)) for word in ("one", "two")]
    looks = 0
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert folder.is_dir()
        looks += 1
    assert looks > 100
    assert (folder / "part").read_text().endswith("59")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_with_the_same_bytes_stays_under_its_readers(tmp_path):
    folder = tmp_path / "table"
    replace_folder(folder, lambda new: (new / "part").write_text("same"))
    before = folder.stat().st_ino
    replace_folder(folder, lambda new: (new / "part").write_text("same"))
    assert folder.stat().st_ino == before


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / ".table.0123.tmp").mkdir()
    (tmp_path / ".other.0123.tmp").mkdir()
    remove_leftovers(tmp_path / "table")
    assert [path.name for path in tmp_path.iterdir()] == [".other.0123.tmp"]
