"""The params.yaml of each recipe: one source of defaults, and mistakes that are named with file and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ROOT
from trainer.errors import InputError
from trainer.params import (
    AblationParams,
    ClusterParams,
    ControlsParams,
    OrofacialParams,
    PenalisationParams,
    SequenceParams,
    load_params,
    load_recipe,
)
from trainer.params.changes import changes, with_changes, with_variant
from trainer.params.section import Section

RECIPES: dict[str, type[Section]] = {
    "ablation": AblationParams,
    "cluster": ClusterParams,
    "controls": ControlsParams,
    "orofacial": OrofacialParams,
    "penalisation": PenalisationParams,
    "sequence": SequenceParams,
}


def keys(section: Section) -> dict[str, Any]:
    """Name all keys of a section and of the sections in it."""
    values = {name: getattr(section, name) for name in type(section).model_fields}
    return {name: keys(value) if isinstance(value, Section) else None for name, value in values.items()}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_file_of_a_recipe_names_every_key_and_holds_the_defaults(name: str) -> None:
    """``dvc exp run -S`` can only change a key that is written down."""
    path = ROOT / "recipes" / name / "params.yaml"
    shipped = load_recipe(path, RECIPES[name])
    given = {key: getattr(shipped, key) for key, one in RECIPES[name].model_fields.items() if one.is_required()}
    assert shipped == RECIPES[name](**given)
    written = yaml.safe_load(path.read_text())
    for key, inner in keys(shipped).items():
        assert key in written
        assert inner is None or set(inner) == set(written[key])


def test_every_folder_of_a_recipe_has_its_class_and_its_stage() -> None:
    assert {path.parent.name for path in (ROOT / "recipes").glob("*/params.yaml")} == set(RECIPES)
    for name in RECIPES:
        stages = yaml.safe_load((ROOT / "recipes" / name / "dvc.yaml").read_text())["stages"]
        assert {f"recipes/{name}/params.yaml": None} in stages[name]["params"]


def test_the_arms_of_the_shipped_controls_are_parameters() -> None:
    recipe, params = (
        load_recipe(ROOT / "recipes/controls/params.yaml", ControlsParams),
        load_params(ROOT / "params.yaml"),
    )
    assert not set(recipe.seeds) & set(params.finetune.seeds)
    for name, arm in recipe.arms.items():
        base = with_variant(params, arm.variant) if arm.variant else params
        with_changes(base, changes(arm.changes), where=name)


def test_the_shipped_ablation_names_variants_of_params_yaml() -> None:
    shipped = load_recipe(ROOT / "recipes/ablation/params.yaml", AblationParams)
    assert set(shipped.variants) <= set(load_params(ROOT / "params.yaml").variants)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("ablation", {"recipes": ["paper"]}, r"a\.yaml:\n  recipes: unknown key"),
        ("ablation", {"variants": []}, r"variants"),
        ("ablation", {"verdict": {"seed": [3]}}, r"a\.yaml:\n  verdict\.seed: unknown key"),
        ("ablation", {"tasks": [[]]}, "non-empty subsets"),
        ("ablation", {"tasks": [[1, 2], [2, 1]]}, "different non-empty subsets"),
        ("ablation", {"label_fractions": [0.5, 1.5]}, "different shares above 0"),
        ("ablation", {"pretrain_seeds": []}, "non-empty and without repeats"),
        ("ablation", {"modes": ["scratch"]}, r"  modes\.0: "),
        ("cluster", {"clusters": 3}, r"a\.yaml:\n  clusters: unknown key"),
        ("cluster", {"modes": ["clustered", "clustered"]}, "without repeats"),
        ("cluster", {"k": 1}, "  k: "),
        ("controls", {"arms": {}, "primary": ""}, "  arms: "),
        ("controls", {"arms": {"a": {"control": "b"}}, "primary": ""}, r"arms\.a\.control: there is no arm b"),
        ("controls", {"arms": {"scratch": {}}, "primary": ""}, "scratch is always there"),
        (
            "controls",
            {"arms": {"a": {"mode": "student", "parent": "labels"}}, "primary": ""},
            "parent labels goes with pretrained",
        ),
        ("orofacial", {"tasks": [["viseme", "viseme"]]}, "at most once"),
        ("orofacial", {"tasks": [["valence"]]}, r"  tasks\.0\.0: "),
        ("orofacial", {"seeds": []}, "non-empty"),
        ("orofacial", {"test_share": 0.6, "dev_share": 0.5}, "must leave clips"),
        ("orofacial", {"layer": 2}, "layer: unknown key"),
        ("sequence", {"systems": {}}, "  systems: "),
        ("sequence", {"systems": {"a/b": {}}}, r"  systems\.a/b"),
        ("sequence", {"shares": [0.0, 1.0]}, "  shares: "),
        ("sequence", {"cut": "end"}, "  cut: "),
        ("sequence", {"share": [1]}, "share: unknown key"),
    ],
)
def test_wrong_parameters_of_a_recipe_are_named(tmp_path: Path, name: str, raw: dict[str, Any], message: str) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(InputError, match=message):
        load_recipe(tmp_path / "a.yaml", RECIPES[name])


def test_a_missing_file_of_a_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no parameter file .*a\.yaml: run from the project's root or give --recipe"):
        load_recipe(tmp_path / "a.yaml", ClusterParams)
    (tmp_path / "a.yaml").write_text("")
    with pytest.raises(InputError, match=r"a\.yaml must be a mapping of keys"):
        load_recipe(tmp_path / "a.yaml", ClusterParams)
