"""Variants: named changes of the parameters."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests import ROOT
from trainer.errors import InputError
from trainer.params import Params, load_params, parse_params
from trainer.params.changes import changes, with_variant

Tiny = Callable[..., Params]


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ({"pretrain": {"epoch": 3}}, r"variants\.odd:\n  pretrain\.epoch: unknown key"),
        ({"pretrain.tasks": [4]}, r"subset of \[1, 2, 3\]"),
        ({"finetune": {"seeds": [3]}}, r"finetune\.seeds is the same for all variants"),
        ({"pretrain": {"unlabelled_fraction": 0.5}}, "is the same for all variants"),
        ({"report": {"alpha": 0.5}}, r"report\.alpha is no key of encoder, pretrain, finetune"),
        ({"pretrain": 3}, "pretrain is no key of"),
    ],
)
def test_wrong_variants_are_named(tiny: Tiny, variant: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_variant(tiny(variants={"odd": variant}), "odd")


def test_nested_and_dotted_variants_are_one(tiny: Tiny) -> None:
    params = tiny(
        variants={
            "nested": {"pretrain": {"tasks": [3, 1]}, "finetune": {"transfer": "conv"}},
            "dotted": {"pretrain.tasks": [1, 3], "finetune.transfer": "conv"},
        }
    )
    assert with_variant(params, "nested") == with_variant(params, "dotted")
    assert with_variant(params, "dotted").pretrain.tasks == (1, 3)
    with pytest.raises(InputError, match=r"no variant 'none'; section variants has: dotted, nested"):
        with_variant(params, "none")


def test_variants_on_the_page_are_those_of_params_yaml() -> None:
    """Every ``dvc exp run`` of docs/variants.md, with its -S changes laid over params.yaml."""
    page = (ROOT / "docs" / "variants.md").read_text().replace("\\\n", " ")
    found = {}
    for name, options in re.findall(r"dvc exp run -n (\w+)(.*)", page):
        raw = yaml.safe_load((ROOT / "params.yaml").read_text())
        for quoted, plain in re.findall(r"-S (?:'([^']+)'|(\S+))", options):
            keys, value = (quoted or plain).split("=", 1)
            *sections, key = keys.split(".")
            place = raw
            for section in sections:
                place = place[section]
            assert key in place
            place[key] = yaml.safe_load(value)
        found[name] = parse_params(raw)
    shipped = load_params(ROOT / "params.yaml")
    assert set(found) == set(shipped.variants)
    for name, params in found.items():
        assert params == with_variant(shipped, name), name
    assert found["dense"] == shipped  # the default


def test_a_key_that_is_given_twice_is_refused() -> None:
    """The last one won, without a word."""
    with pytest.raises(InputError, match=r"pretrain\.tasks is given twice"):
        changes({"pretrain": {"tasks": [1]}, "pretrain.tasks": [2]})
