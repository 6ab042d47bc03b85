"""Trees of real layouts, names and empty files, and what a reader makes of them."""

from __future__ import annotations

import pytest

from pipeline.corpora import make_reader


@pytest.fixture
def tree(tmp_path):
    """Make files below ``tmp_path / 'root'``; a dict gives their texts."""

    def plant(files):
        for name in files:
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name] if isinstance(files, dict) else "", encoding="utf-8")
        return tmp_path / "root"

    return plant


def notes(corpus, root, /, **options):
    return " | ".join(make_reader(corpus, options).read(root).notes)


def by_id(rows):
    assert len({row.clip_id for row in rows}) == len(rows)
    return {row.clip_id: row for row in rows}
