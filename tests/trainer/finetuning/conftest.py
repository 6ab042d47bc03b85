"""Pretraining and fine-tuning on generated shards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.trainer.conftest import labelled_rows, unlabelled_rows
from trainer.finetuning.finetune import finetune
from trainer.params import Params
from trainer.pretraining.pretrain import pretrain

Make = Callable[..., Path]
Tiny = Callable[..., Params]


@pytest.fixture
def run(make_shards: Make, tiny: Tiny, tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Pretrain (if any mode needs it) and fine-tune into tmp_path/<where>."""

    def go(
        where: str, *, rows: list[dict[str, Any]] | None = None, workers: int = 1, **finetuning: Any
    ) -> pd.DataFrame:
        params = tiny(finetune=finetuning)
        home, cache = tmp_path / where, tmp_path / where / "cache"
        labelled = make_shards("labelled", rows if rows is not None else labelled_rows())
        if set(params.finetune.modes) != {"scratch"} and not (home / "pretrain").exists():
            pretrain(make_shards("unlabelled", unlabelled_rows()), home / "pretrain", params, cache=cache)
        return finetune(
            labelled, home / "pretrain", home / "models", home / "reports", params, cache=cache, workers=workers
        )

    return go
