"""A memory map that was damaged is built anew, and two commands at once build one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.conftest import digest, flip, labelled_rows
from trainer.data.shards import open_shards
from trainer.errors import InputError

Make = Callable[..., Path]
FILES = ("features.f32", "offsets.npy", "mean.npy", "m2.npy", "SHA256SUMS")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [flip, lambda path: flip(path, at=-1), lambda path: path.write_bytes(path.read_bytes()[:100]), Path.unlink,
     lambda path: path.write_bytes(b"")],
    ids=["flipped", "flipped at the end", "cut", "gone", "emptied"],
)  # fmt: skip
def test_whatever_is_damaged_is_built_anew(
    make_shards: Make, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    # Regressions: a short features.f32 was a ValueError, an empty offsets.npy "Aborted.", a flipped bit was data.
    folder = make_shards("labelled", labelled_rows(speakers=("a",)))
    place = open_shards(folder, cache=tmp_path / "cache").place
    before = digest(place)
    damage(place / name)
    again = open_shards(folder, cache=tmp_path / "cache")
    assert digest(again.place) == before
    assert len(again.features) == again.offsets[-1]
    assert np.isfinite(again.mean).all()


def test_two_commands_at_once_build_one_map(make_shards: Make, tmp_path: Path) -> None:
    folder = make_shards("labelled", labelled_rows())
    code = "import sys; from trainer.data.shards import open_shards; open_shards(sys.argv[1], cache=sys.argv[2])"
    arguments = [sys.executable, "-c", code, str(folder), str(tmp_path / "cache")]
    assert [process.wait() for process in [subprocess.Popen(arguments) for _ in range(3)]] == [0, 0, 0]
    place = open_shards(folder, cache=tmp_path / "cache").place
    assert list((tmp_path / "cache" / "frames").iterdir()) == [place]


def test_a_map_that_goes_while_it_is_in_use_is_named(make_shards: Make, tmp_path: Path) -> None:
    shards = open_shards(make_shards("labelled", labelled_rows(speakers=("a",))), cache=tmp_path / "cache")
    (shards.place / "features.f32").unlink()
    with pytest.raises(InputError, match="run again"):
        _ = shards.features
