"""Manifests written beside a root folder."""

from __future__ import annotations

import pytest

from pipeline.manifest.row import ManifestRow

HEADER = "clip_id,corpus,path,speaker,split,fold,start,end,emotion,label_source,votes_anger,arousal\n"


@pytest.fixture
def make(tmp_path):
    """Write a manifest beside a root folder and return both paths."""

    def write(text, *, header=HEADER):
        path = tmp_path / "m.csv"
        path.write_text(header + text, encoding="utf-8")
        (tmp_path / "root").mkdir(exist_ok=True)
        return path, tmp_path / "root"

    return write


def row(clip_id="a", corpus="c", path="a.wav", speaker="s", **more):
    return ManifestRow(clip_id=clip_id, corpus=corpus, path=path, speaker=speaker, **more)
