"""Shards carry the checksums that the pipeline wrote; the trainer holds them against the parts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.conftest import labelled_rows
from trainer.data.shards import open_shards
from trainer.errors import InputError


@pytest.fixture
def shards(make_shards: Callable[..., Path]) -> Path:
    folder = make_shards("labelled", labelled_rows(per_class=1))
    sums = [f"{hashlib.sha256(part.read_bytes()).hexdigest()}  {part.name}\n" for part in sorted(folder.iterdir())]
    (folder / "_SHA256SUMS").write_text("".join(sums))
    return folder


def test_parts_as_they_were_written_are_read(shards: Path, tmp_path: Path) -> None:
    opened = open_shards(shards, cache=tmp_path / "cache")
    (shards / "_SHA256SUMS").unlink()  # shards of a foreign source state none
    assert open_shards(shards, cache=tmp_path / "cache").fingerprint == opened.fingerprint


@pytest.mark.parametrize("how", ["flipped", "lost"])
def test_a_flipped_bit_or_a_lost_part_is_named(shards: Path, tmp_path: Path, how: str) -> None:
    part = shards / "part-001.parquet"
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 1
    part.unlink()
    if how == "flipped":
        part.write_bytes(content)
    with pytest.raises(InputError, match="not as the pipeline wrote it"):
        open_shards(shards, cache=tmp_path / "cache")
