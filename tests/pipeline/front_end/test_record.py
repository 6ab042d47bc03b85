"""What the shards say of their features, and one file heard in the same way."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.acoustics import AcousticsConfig, AcousticsExtractor
from pipeline.audio import AudioConfig, AudioExtractor
from pipeline.errors import InputError, Quarantined
from pipeline.front_end.listening import FrontEnd, Listener, Stretch
from pipeline.front_end.record import describe_front_end
from tests.pipeline.conftest import speech_like
from tests.pipeline.described import ACOUSTICS, AUDIO, SEGMENTS


@pytest.mark.parametrize(
    ("column", "settings"), [("lld", {"features", "frame_size", "frame_step"}), ("logmel", {"logmel", "mel"})]
)
def test_only_what_decides_the_column_is_recorded(column, settings):
    found = describe_front_end(column, segments=SEGMENTS, audio=AUDIO, acoustics=ACOUSTICS)
    assert set(found["acoustics"]) == settings
    assert set(found["versions"]) == {"ffmpeg", {"lld": "opensmile", "logmel": "librosa"}[column]}
    assert "code" not in str(found)  # an edited extractor is no other front end
    front_end = FrontEnd.read(found, where="here")
    assert front_end.column == column
    assert Listener(front_end).differences() == []


def test_features_are_those_of_the_stages(make_sound):
    path = make_sound(speech_like([(0.3, False), (2.0, True), (0.3, False)]))
    listener = Listener(FrontEnd())
    (stretch,) = listener.stretches(path)
    found = listener.features(path, stretch)
    sound = AudioExtractor(AudioConfig())({"media_path": str(path), "start": stretch.start, "end": stretch.end})
    row = AcousticsExtractor(AcousticsConfig())({"flac": sound["flac"]})
    np.testing.assert_array_equal(found.values.ravel(), row["lld"])
    listener.check(tuple(listener.grid.names), 0.016)
    with pytest.raises(InputError, match=r"frame_period: the model 0\.02 s, here 0\.016 s"):
        listener.check(tuple(listener.grid.names), 0.02)
    with pytest.raises(InputError, match=r"the model 130, here 130, the first that differs: x, here F0final_sma"):
        listener.check(("x", *listener.grid.names[1:]), 0.016)


def test_short_files_stay_whole_by_the_rules_of_labelled_clips_and_long_ones_are_cut(make_sound):
    listener = Listener(FrontEnd())
    short = make_sound(speech_like([(0.5, True)]), name="short.wav")  # below segments.min_seconds
    assert listener.stretches(short) == [Stretch(0.0, 0.5)]
    long = make_sound(speech_like([(7.0, True), (1.0, False), (7.0, True)]), name="long.wav")
    assert len(listener.stretches(long)) == 2
    assert listener.stretches(long, whole=True) == [Stretch(0.0, 15.0)]
    assert listener.stretches(long, start=1.0, end=2.5) == [Stretch(1.0, 2.5)]
    with pytest.raises(Quarantined, match="labelled_min_seconds"):
        listener.stretches(make_sound(speech_like([(0.2, True)]), name="click.wav"))


def test_a_key_that_is_not_known_is_named():
    with pytest.raises(InputError, match=r"model needs features .*segments\.min_silence: Extra inputs"):
        FrontEnd.read({"segments": {"min_silence": 1}}, where="model")
    with pytest.raises(InputError, match=r"column: .*must be one of lld"):
        FrontEnd.read({"column": "mfcc"}, where="model")
    with pytest.raises(InputError, match="it needs no speech model"):
        FrontEnd().with_speech_model("wavlm")
