"""A small ablation: its settings, and a function that runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.trainer.conftest import labelled_rows, unlabelled_rows
from trainer.params import AblationParams, Params
from trainer.recipes.ablation.run import ablation
from trainer.recipes.ablation.study import Study

Settings = tuple[Params, AblationParams]
QUICK = {"epochs": 2, "patience": 2}


@pytest.fixture
def study(make_shards: Callable[..., Path], tiny: Callable[..., Params], tmp_path: Path) -> Callable[..., Any]:
    """Return the class of a small ablation, which runs into tmp_path/reports."""

    class Small:
        labelled = make_shards("labelled", labelled_rows(speakers=("a", "b", "c", "d")))
        unlabelled = make_shards("unlabelled", unlabelled_rows())
        cache = tmp_path / "cache"
        reports = tmp_path / "reports"

        @staticmethod
        def settings(
            *,
            variants: dict[str, Any] | None = None,
            finetune: dict[str, Any] | None = None,
            pretrain: dict[str, Any] | None = None,
            **options: Any,
        ) -> Settings:
            verdict = {"run": False, "min_pairs": 2, "seeds": [8], "pretrain_seeds": [5], **options.pop("verdict", {})}
            names = {"paper": {}, **(variants or {})}
            recipe = {"variants": list(names), "tasks": [[1, 2, 3]], "modes": ["pretrained"], "label_fractions": [0.5]}
            recipe |= {"unlabelled_fractions": [1.0], **options, "verdict": verdict}
            params = tiny(
                pretrain={**QUICK, **(pretrain or {})},
                finetune={**QUICK, "folds": 2, **(finetune or {})},
                variants=names,
                report={"summary": "", "resamples": 100, "subsets": 4},
            )
            return params, AblationParams.model_validate(recipe)

        def run(self, settings: Settings, **options: Any) -> pd.DataFrame:
            return ablation(self.labelled, self.unlabelled, self.reports, *settings, cache=self.cache, **options)

        def study(self, settings: Settings) -> Study:
            return Study.of(self.labelled, self.unlabelled, *settings, cache=self.cache)

    return Small
