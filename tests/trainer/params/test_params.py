from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ROOT
from trainer.errors import InputError
from trainer.params import SECTIONS, Params, load_params, parse_params
from trainer.params.changes import with_variant


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"pretrain": {"epoch": 3}}, r"pretrain\.epoch: unknown key"),
        ({"finetunes": {}}, "finetunes: unknown key"),
        ({"pretrain": {"tasks": [], "dense": []}}, "must not be empty"),
        ({"pretrain": {"tasks": [1, 4]}}, "must be a subset"),
        ({"pretrain": {"dense": ["energy", "energy"]}}, "without repeats"),
        ({"pretrain": {"dense": ["face"]}}, r"pretrain\.dense"),
        ({"pretrain": {"task_weights": [1, 0, 1]}}, "must be positive"),
        ({"encoder": {"kernel": 4}}, "must be odd"),
        ({"encoder": {"max_seconds": -1}}, "greater than 0"),
        ({"finetune": {"modes": ["scratch", "scratch"]}}, "without repeats"),
        ({"finetune": {"modes": ["probe"]}}, r"finetune\.modes"),
        ({"finetune": {"folds": 1}}, "at least 2"),
        ({"finetune": {"objective": "soft"}}, "soft and multilabel go with target 'votes'"),
        ({"finetune": {"target": "votes"}}, "soft and multilabel go with target 'votes'"),
        ({"finetune": {"vote_threshold": 1.0}}, "vote_threshold must be a share"),
        ({"finetune": {"objective": "attribute", "target": "arousal", "label_smoothing": 0.1}}, "belongs to objective"),
        ({"finetune": {"normalisation": "target"}}, r"finetune\.normalisation"),
        ({"report": {"measure": "f1"}}, r"report\.measure"),
        ({"variants": {"dense": 3}}, r"variants\.dense"),
        ({"recipes": {"dense": {}}}, r"recipes: these keys are now in section variants"),
        ({"cluster": {"k": 3}}, r"cluster: these keys are now in recipes/cluster/params\.yaml"),
        ({"ablation": {}, "sequence": None}, r"ablation/params\.yaml\n  sequence: .*recipes/sequence/params\.yaml"),
        ({"finetune": {"label_fraction": 0}}, r"finetune\.label_fraction"),
        ({"encoder": {"widths": [0]}}, r"encoder\.widths\.0"),
        ({"encoder": {"widths": [10**9]}}, r"encoder\.widths\.0"),
        ({"encoder": {"hidden": 10**9}}, r"encoder\.hidden"),
        ({"encoder": {"max_seconds": 1e12}}, r"encoder\.max_seconds"),
        ({"encoder": {"clip": float("inf")}}, r"encoder\.clip"),
        ({"pretrain": {"seed": 2**64}}, r"pretrain\.seed"),
        ({"finetune": {"seeds": [2**63]}}, r"finetune\.seeds\.0"),
        ({"finetune": {"lr": float("inf")}}, r"finetune\.lr"),
        ({"pretrain": {"task_weights": [1, float("nan"), 1]}}, r"pretrain\.task_weights"),
        ({"trainer": {"threads": 10**12}}, r"trainer\.threads"),
        ({"trainer": {"device": "cuda:1"}}, r"trainer\.device"),
        ({"trainer": {"device": "mps"}}, r"trainer\.device"),
        ({1: 2}, "params.yaml"),
    ],
)
def test_wrong_parameters_are_named(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_params(raw)


def test_the_pipelines_sections_are_known_and_left_alone() -> None:
    params = parse_params({"faces": {"anything": 1}, "sets": {}, "shards": None, "pretrain": None})
    assert params == Params()


def test_files_that_are_no_parameters_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no parameter file"):
        load_params(tmp_path / "params.yaml")
    for content, message in (
        (b"a: [", "not valid YAML"),
        (b"- 1", "mapping of sections"),
        (b"\xff\xfe", "cannot be read as text in UTF-8"),
        (b"sets: 2020-13-45", "not valid YAML"),
        (b"sets: !!timestamp x", "not valid YAML"),
        (b"[" * 20000, "not valid YAML"),
        (b"pretrain: {lr: .inf}", "pretrain.lr: .*finite"),
        (b"finetune: {weight_decay: .nan}", "finetune.weight_decay: .*finite"),
    ):
        (tmp_path / "params.yaml").write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_params(tmp_path / "params.yaml")


def test_params_yaml_names_every_number() -> None:
    """``dvc exp run -S`` can only change a key that is written down."""
    path = ROOT / "params.yaml"
    raw = yaml.safe_load(path.read_text())
    load_params(path)
    for section in sorted(SECTIONS - {"variants"}):
        assert set(raw[section]) == set(Params.model_fields[section].annotation.model_fields)  # type: ignore[union-attr]


def test_the_variants_of_params_yaml_lead_to_parameters() -> None:
    params = load_params(ROOT / "params.yaml")
    assert len(params.variants) > 3
    for name in params.variants:
        with_variant(params, name)


def test_a_variant_below_no_section_is_named() -> None:
    with pytest.raises(InputError, match=r"variants\.x.*widths is no section"):
        with_variant(parse_params({"variants": {"x": {"encoder.widths.0": 3}}}), "x")
