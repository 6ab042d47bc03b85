"""The comparison of DeepEmoCluster: supervised alone, with clusters, with clusters of an unlabelled set too.

Fine-tuning with other modes: the same runs, folds, seeds, network and training loop, tables of the same form. What
clustering itself does is in ``trainer.recipes.cluster.clustering``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from trainer.data.shards import Shards, open_shards
from trainer.errors import InputError
from trainer.finetuning.classes import open_labelled
from trainer.finetuning.finetune import Context, train_runs
from trainer.finetuning.plan import plan
from trainer.params import ClusterParams, Params
from trainer.recipes.cluster.clustering import BOTH, CLUSTER, CLUSTERED, ClusterRecipe, Unlabelled


def cluster(
    shards_folder: str | Path,
    unlabelled_folder: str | Path,
    out: str | Path,
    reports: str | Path,
    params: Params,
    recipe: ClusterParams,
    *,
    cache: str | Path = ".cache/trainer",
    workers: int = 1,
    on_start: Callable[[int, int], None] | None = None,
    on_run: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train every missing run of ``recipe.modes``, then write models and tables; return the rows of ``finetune_runs``.

    Folds, seeds, target, objective, schedule and normalisation are those of section ``finetune``; keys of runs, tables
    and model folders are fine-tuning's (its finished runs of mode scratch are not trained again). ``unlabelled_folder``
    is opened only for mode clustered_both; labelled speakers in it are left out (unless
    ``finetune.allow_pretrain_speakers``), since each is tested by some fold.

    Raises:
        InputError: the two shard folders differ in features, nobody but labelled speakers is in the unlabelled one, or
            a setting needs a pretrained parent.
    """
    options = params.finetune
    if options.normalisation == "parent":
        raise InputError("finetune.normalisation is 'parent', but the cluster recipe has no pretrained parent")
    if options.target == CLUSTER:
        raise InputError(f"finetune.target {CLUSTER!r} is the name of the cluster head: name the column otherwise")
    shards = open_labelled(shards_folder, options, cache=cache)
    unlabelled = None
    if BOTH in recipe.modes:
        tested = frozenset() if options.allow_pretrain_speakers else frozenset(shards.speakers)
        unlabelled = Unlabelled(open_shards(unlabelled_folder, cache=cache), tested)
        if not len(unlabelled.rows):
            raise InputError(
                f"{unlabelled_folder}: only the labelled speakers are in it, whom the folds test: add others"
            )
        _check_same_features(shards, unlabelled.shards)
    side = {CLUSTERED: ClusterRecipe(recipe), BOTH: ClusterRecipe(recipe, unlabelled)}
    runs = plan(shards, params, None, modes=recipe.modes, side=side)
    return train_runs(
        Context(shards, params, Path(cache) / "units", side),
        runs,
        out=Path(out),
        reports=Path(reports),
        workers=workers,
        on_start=on_start,
        on_run=on_run,
    )


def _check_same_features(one: Shards, other: Shards) -> None:
    if (one.feature_names, one.frame_period) != (other.feature_names, other.frame_period):
        raise InputError(
            f"{one.folder} and {other.folder} differ in features or frame period: build both with the same "
            "shards.features and acoustics settings"
        )
