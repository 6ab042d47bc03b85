"""Features from elsewhere than shards, and shards that do not fit the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.trainer.conftest import FRAME_PERIOD, N_FEATURES, labelled_rows
from trainer.data.normalisation import Normalisation
from trainer.data.shards import hold_in_memory, open_shards
from trainer.errors import InputError
from trainer.finetuning.finetune import finetune
from trainer.finetuning.plan import plan
from trainer.models.checkpoint import model_fingerprint
from trainer.params import Params
from trainer.predict import predict
from trainer.predictor import Predictor
from trainer.store import read_sums, seal

Make = Callable[..., Path]
Tiny = Callable[..., Params]

FRONT_END: dict[str, Any] = {
    "column": "lld",
    "audio": {"sample_rate": 16000},
    "acoustics": {"features": "compare_lld", "frame_size": 0.032, "frame_step": 0.016},
    "segments": {"max_seconds": 11.0},
    "versions": {"ffmpeg": "7.1", "opensmile": "2.6.0"},
}


def features(row: dict[str, Any]) -> np.ndarray:
    return np.array(row["features"], np.float32).reshape(-1, N_FEATURES)


def stored_rows(**options: int) -> list[dict[str, Any]]:
    """Rows whose features have 9 significant bits, as the pipeline stores them: the map holds these as they are."""
    rows = labelled_rows(**options)
    for row in rows:
        mantissa, exponent = np.frexp(np.asarray(row["features"], np.float32))
        row["features"] = np.ldexp(np.round(mantissa * 512) / 512, exponent).tolist()
    return rows


def trained(shards: Path, home: Path, params: Params) -> Path:
    finetune(shards, home / "none", home / "models", home / "reports", params, cache=home / "cache")
    return home / "models" / "toy" / "scratch"


@pytest.mark.parametrize("normalisation", ["train", "speaker", "utterance"])
def test_arrays_are_predicted_as_the_rows_of_shards(
    tiny: Tiny, make_shards: Make, tmp_path: Path, normalisation: str
) -> None:
    # Regression: with normalisation by speaker and nobody held out, the default, training stopped with an error.
    params = tiny(finetune={"modes": ["scratch"], "epochs": 2, "dev": "none", "monitor": "last",
                            "normalisation": normalisation})  # fmt: skip
    rows = stored_rows()
    shards = make_shards("labelled", rows, front_end=FRONT_END)
    model = Predictor(trained(shards, tmp_path, params))
    table = model.predict([features(row) for row in rows], [row["speaker"] for row in rows])
    known = predict(shards, model.folder, cache=tmp_path / "cache")
    assert list(table.columns) == ["emotion", "confidence", "p_anger", "p_neutral", "p_sadness"]
    assert (table["emotion"] == known["emotion"]).all()
    columns = [f"emotion_p_{name}" for name in model.objective.names]
    np.testing.assert_allclose(table[table.columns[2:]], known[columns], atol=1e-6)
    assert model.by_speaker == (normalisation == "speaker")
    alone = model.predict([features(rows[3])], [""])
    same = np.allclose(alone["p_anger"], table["p_anger"][3], atol=1e-6)
    assert same == (normalisation != "speaker")


def test_held_arrays_have_the_moments_of_the_map(make_shards: Make, tmp_path: Path) -> None:
    rows = stored_rows(per_class=1)
    opened = open_shards(make_shards("labelled", rows), cache=tmp_path / "cache")
    held = hold_in_memory(
        [features(row) for row in rows], [row["speaker"] for row in rows], feature_names=opened.feature_names,
        frame_period=FRAME_PERIOD,
    )  # fmt: skip
    for name in ("features", "offsets", "mean", "m2"):
        np.testing.assert_array_equal(getattr(held, name), getattr(opened, name))
    nobody = np.zeros(0, dtype=np.int64)
    fitted = Normalisation.fit(opened, [0, 1], clip=3.0, scope="speaker")
    assert [part.shape for part in fitted.of_rows(opened, nobody)] == [(0, N_FEATURES)] * 2


def test_a_calibrated_model_answers_alike_from_shards_and_arrays(tiny: Tiny, make_shards: Make, tmp_path: Path) -> None:
    rows = stored_rows()
    shards = make_shards("labelled", rows, front_end=FRONT_END)
    model = trained(shards, tmp_path, tiny(finetune={"modes": ["scratch"], "epochs": 2}))
    plain = Predictor(model).predict([features(rows[0])], [""])
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"calibration": {"temperature": 3.0}}))
    seal(model)
    softened = Predictor(model).predict([features(rows[0])], [""])
    assert 1 / 3 < softened["confidence"][0] < plain["confidence"][0]
    known = predict(shards, model, cache=tmp_path / "cache")
    np.testing.assert_allclose(softened["confidence"], known["emotion_confidence"][:1], atol=1e-6)


def test_how_features_were_made_reaches_the_model_and_no_key(tiny: Tiny, make_shards: Make, tmp_path: Path) -> None:
    rows, params = labelled_rows(), tiny(finetune={"modes": ["scratch"], "epochs": 2})
    folder = make_shards("labelled", rows, front_end=FRONT_END)
    first = open_shards(folder, cache=tmp_path / "cache")
    model = trained(folder, tmp_path, params)
    assert json.loads((model / "config.json").read_text())["front_end"] == FRONT_END
    bytes_before = {path.name: path.read_bytes() for path in folder.iterdir()}
    make_shards("labelled", rows, front_end=FRONT_END | {"versions": {"ffmpeg": "8.0", "opensmile": "2.6.0"}})
    assert bytes_before != {path.name: path.read_bytes() for path in folder.iterdir()}
    again = open_shards(folder, cache=tmp_path / "cache")
    assert again.fingerprint == first.fingerprint
    assert [run.key for run in plan(again, params, None)] == [run.key for run in plan(first, params, None)]
    # What else the shards say, and what they hold, counts.
    make_shards("labelled", rows, front_end=FRONT_END, frame_centre=0.5)
    assert open_shards(folder, cache=tmp_path / "cache").fingerprint != first.fingerprint
    make_shards("labelled", labelled_rows(seed=8), front_end=FRONT_END)
    assert open_shards(folder, cache=tmp_path / "cache").fingerprint != first.fingerprint


def test_a_parents_fingerprint_leaves_out_how_features_were_made(tiny: Tiny, make_shards: Make, tmp_path: Path) -> None:
    shards = make_shards("labelled", labelled_rows(), front_end=FRONT_END)
    model = trained(shards, tmp_path, tiny(finetune={"modes": ["scratch"], "epochs": 1}))
    before, path = model_fingerprint(model), model / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"front_end": None}))
    assert model_fingerprint(model) == before
    path.write_text(json.dumps(config | {"frame_period": 1.0}))
    assert model_fingerprint(model) != before
    assert "config.json" in read_sums(model / "SHA256SUMS")


def test_shards_made_with_other_settings_are_refused_by_key(tiny: Tiny, make_shards: Make, tmp_path: Path) -> None:
    model = trained(make_shards("labelled", labelled_rows(), front_end=FRONT_END), tmp_path,
                    tiny(finetune={"modes": ["scratch"], "epochs": 1}))  # fmt: skip
    shorter = FRONT_END | {"acoustics": FRONT_END["acoustics"] | {"frame_size": 0.02}}
    other = make_shards("other", labelled_rows(), front_end=shorter)
    with pytest.raises(InputError, match=r"acoustics\.frame_size: the model 0\.032, here 0\.02$"):
        predict(other, model, cache=tmp_path / "cache")
    newer = make_shards("newer", labelled_rows(), front_end=FRONT_END | {"versions": {}, "segments": {}})
    assert len(predict(newer, model, cache=tmp_path / "cache")) == 72
    silent = make_shards("silent", labelled_rows())
    assert isinstance(predict(silent, model, cache=tmp_path / "cache"), pd.DataFrame)


def test_models_that_cannot_hear_are_refused(tiny: Tiny, make_shards: Make, tmp_path: Path) -> None:
    model = trained(make_shards("labelled", labelled_rows()), tmp_path,
                    tiny(finetune={"modes": ["scratch"], "epochs": 1}))  # fmt: skip
    with pytest.raises(InputError, match=r"config\.json has no front_end.*train again"):
        _ = Predictor(model).front_end
