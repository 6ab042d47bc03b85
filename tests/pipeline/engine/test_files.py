from __future__ import annotations

import pytest

from pipeline.engine.files import replace_file, replace_folder, write_json


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
