"""The picture of a segment, made from real tables; what is tested is the evidence that goes into it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.checks.evidence import N_FRAMES, gather, sample_frames
from pipeline.checks.inspect import inspect_segment
from pipeline.errors import InputError
from pipeline.params import Params
from pipeline.stages.acoustics import run_acoustics
from pipeline.stages.audio import run_audio
from pipeline.stages.faces import run_faces
from pipeline.stages.pseudo_labels import run_pseudo_labels
from pipeline.stages.segments import run_segments
from tests.pipeline.faces import MEDIA

pytestmark = pytest.mark.slow  # tables come from the real stages


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """Tables of a film with a face and of one without."""
    home = tmp_path_factory.mktemp("inspect")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        rows = [{"clip_id": name, "corpus": "test", "path": f"{name}.mp4", "speaker": name, "split": "train"}
                for name in ("single_face", "no_face")]  # fmt: skip
        rows.append(rows[0] | {"clip_id": "missing", "path": "missing.mp4"})
        pd.DataFrame(rows).to_csv("m.csv", index=False)
        chosen = {"manifest": "m.csv", "root": MEDIA}
        run = {"workers": 2, "max_failed_share": 1.0}
        params = Params.model_validate({"sets": {"unlabelled": chosen, "labelled": chosen}, "run": run})
        run_segments(params, "unlabelled")
        for stage in (run_audio, run_acoustics, run_faces):
            stage(params, "unlabelled")
        run_pseudo_labels(params)
        yield params


def test_the_evidence_is_what_the_labels_were_made_of(flow):
    evidence = gather(flow, "single_face")
    relative = evidence.face["relative"]
    fitted, labels = evidence.fitted["t3"], evidence.labels
    valid = evidence.face["valid"].astype(bool)
    assert np.isnan(relative[~valid]).all()
    scores = np.quantile(np.clip(relative[valid], 0, None) @ np.array(fitted["weights"]).T, 0.75, axis=0)
    assert scores == pytest.approx([labels[f"t3_{name}"] for name in fitted["emotions"]], abs=1e-3)
    shown = sample_frames(flow, evidence.segment)
    assert len(shown) == N_FRAMES
    assert all(frame.points.shape == (478, 3) for frame in shown)


@pytest.mark.parametrize("name", ["single_face", "no_face"])
def test_a_picture_is_drawn_with_and_without_a_face(flow, tmp_path, name):
    from matplotlib import image

    path = inspect_segment(flow, name, tmp_path / "deep" / f"{name}.png")
    picture = image.imread(path)
    assert picture.shape[1] == 1300
    assert picture[..., :3].std() > 0.05


def test_what_cannot_be_shown_is_named(flow, tmp_path):
    with pytest.raises(InputError, match="no segment or clip 'nobody'"):
        inspect_segment(flow, "nobody", tmp_path / "x.png")
    with pytest.raises(InputError, match="quarantined"):
        inspect_segment(flow, "missing", tmp_path / "x.png")
