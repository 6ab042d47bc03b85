"""A passing fault of the machine is no property of the data: not stored, not silent, tried again."""

from __future__ import annotations

import errno
from pathlib import Path

import pandas as pd
import pytest

from pipeline.engine.compute import Item, RunConfig, compute
from pipeline.engine.content import Source, hash_file
from pipeline.engine.results import check_failures, sound
from pipeline.engine.tables import parts
from pipeline.errors import InputError
from tests.pipeline.engine.extractors_for_tests import SCHEMA, Double, DoubleConfig


def run(tmp_path, items, *, workers=1, **more):
    config = RunConfig(workers=workers, cache=tmp_path / "cache", **more)
    return compute("t", Double(DoubleConfig()), items, schema=SCHEMA, run=config)


def item(name, do, value=1, **more):
    return Item(name, {"name": name, "value": value}, lambda: {"do": do, "value": value, **more})


def film(tmp_path, name, content="film"):
    path = tmp_path / name
    path.write_text(content)
    return path


def reading(path, do="read", content=None):
    source = Source(str(path), content or hash_file(path))
    payload = {"do": do, "path": str(path), "value": 1}
    return Item(path.name, {"content": source.content}, lambda: payload, source)


def test_an_os_error_is_tried_again_and_the_stage_does_not_count_as_done(tmp_path):
    results = run(tmp_path, [item("a", "away"), item("b", "double")])
    results.write(tmp_path / "out", metadata={})
    assert pd.read_parquet(tmp_path / "out")["status"].tolist() == ["quarantined", "ok"]
    with pytest.raises(InputError, match="1 of 2 items failed for passing reasons"):
        check_failures("t", results, max_failed_share=1)
    again = run(tmp_path, [item("a", "double"), item("b", "double")])
    check_failures("t", again, max_failed_share=0)


def test_a_lasting_reason_is_stored_and_lets_the_stage_be_done(tmp_path):
    run(tmp_path, [item("a", "quarantine")])
    again = run(tmp_path, [item("a", "double")])
    assert again.quarantined() == {"a": "not to our taste"}
    check_failures("t", again, max_failed_share=1)


def test_an_item_that_took_too_long_is_computed_with_more_time(tmp_path):
    results = run(tmp_path, [item("a", "hang")], item_timeout=1)
    assert "longer than 1 s" in results.quarantined()["a"]
    assert not run(tmp_path, [item("a", "double")]).quarantined()


def test_an_item_whose_process_was_killed_is_tried_once_more_and_alone(tmp_path):
    items = [item("once", "kill-once", log=str(tmp_path / "flag")), *(item(f"i{n}", "double", n) for n in range(4))]
    assert not run(tmp_path, items, workers=2).quarantined()
    assert not list((tmp_path / "cache/t/attempts").iterdir())


def test_a_full_disk_stops_the_run_and_names_the_folder(tmp_path):
    items = [item("good", "double", 5), item("full", "full")]
    with pytest.raises(InputError, match="cannot write to /disk/some: No space left on device"):
        run(tmp_path, items)
    results = run(tmp_path, [item("full", "double")])
    assert not results.quarantined()


def test_a_cache_that_cannot_be_written_to_stops_the_run(tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"cannot write to .*cache"):
        run(tmp_path, [item("a", "double")])


def test_other_content_is_never_stored_under_the_old_key(tmp_path):
    one, two = film(tmp_path, "one"), film(tmp_path, "two", "content")
    items = [reading(one), reading(two)]
    one.write_text("swap")
    swapped = run(tmp_path, items)
    assert "content is not what" in swapped.quarantined()["one"]
    one.write_text("film")
    results = run(tmp_path, items)
    assert bytes(map(int, results.row("one")["value"][0].as_py())) == b"film"


def test_a_film_that_changes_while_it_is_read_gives_no_row(tmp_path):
    path = film(tmp_path, "one")
    content = hash_file(path)
    results = run(tmp_path, [reading(path, "overwrite")])
    assert results.failed["one"].passing
    path.write_text("film")
    assert not run(tmp_path, [reading(path, content=content)]).quarantined()


def test_a_film_that_is_away_is_used_once_it_is_back(tmp_path):
    path = film(tmp_path, "one")
    items = [reading(path)]
    path.rename(tmp_path / "away")
    assert "cannot be read: No such file" in run(tmp_path, items).quarantined()["one"]
    (tmp_path / "away").rename(path)
    assert not run(tmp_path, items).quarantined()


def test_a_part_that_is_damaged_or_lost_is_named(tmp_path):
    items = [item(f"i{n}", "double", n) for n in range(12)]
    run(tmp_path, items).write(tmp_path / "out", metadata={"frame_period": 0.01})
    part = parts(tmp_path / "out")[1]
    whole = part.read_bytes()
    for place in range(0, len(whole), 101):
        part.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InputError, match=r"part-001\.parquet is missing or damaged"):
            parts(tmp_path / "out")
    part.unlink()
    with pytest.raises(InputError, match=r"part-001\.parquet is missing or damaged"):
        parts(tmp_path / "out")


def test_a_disk_that_cannot_be_read_for_a_moment_removes_no_row(tmp_path, monkeypatch):
    # Regression: any error while a table was packed counted as damage, and all rows of the cache were removed.
    items = [item(f"i{n}", "double", n) for n in range(5)]
    results = run(tmp_path, items)
    rows = {results.cache.path(key) for key in results.keys.values()}

    def stale(path):
        raise OSError(errno.ESTALE, "Stale file handle", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", stale)
        with pytest.raises(InputError, match=r"cannot read .*: Stale file handle. Nothing that was finished is lost"):
            sound(lambda: results, lambda found: found.write(tmp_path / "out", metadata={}))
    assert all(path.is_file() for path in rows)


@pytest.mark.parametrize("what", ["empty", "folder", "link to a folder", "link to itself"])
def test_whatever_lies_in_the_place_of_a_row_is_replaced(tmp_path, what):
    results = run(tmp_path, [item("a", "double", 4)])
    path = results.cache.path(results.keys["a"])
    path.unlink()
    other = tmp_path / "other"
    other.mkdir()
    (other / "film").touch()
    match what:
        case "empty":
            path.touch()
        case "folder":
            path.mkdir()
        case "link to a folder":  # regression: "Cannot call rmtree on a symbolic link", in every later run
            path.symlink_to(other)
        case "link to itself":
            path.symlink_to(path)
    made = sound(
        lambda: run(tmp_path, [item("a", "double", 4)]), lambda found: found.write(tmp_path / "out", metadata={})
    )
    assert made.row("a")["value"][0].as_py() == [8, 8, 8]
    assert (other / "film").exists()
