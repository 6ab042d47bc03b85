"""What a pretrained encoder's frame layers hold before anything is fine-tuned: a linear classifier on their statistics.

Mean and deviation over an utterance of the input features and of every frame layer, frozen, and a ridge classifier on
top (ours). Some hundred times cheaper than fine-tuning, so that variants can be compared over many label draws. The
control is the same network with weights as drawn, whose batch statistics are set from the training rows; what
pretraining adds is the difference to it on the same folds and label draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainer.data.arrays import FloatArray, IntArray
from trainer.data.normalisation import Normalisation
from trainer.data.rows import MISSING, class_indices, label_names, speaker_keys, text
from trainer.data.shards import Shards
from trainer.data.splits import folds, label_subset
from trainer.errors import InputError
from trainer.finetuning.classes import open_labelled
from trainer.finetuning.parents import Parent, Parents
from trainer.models.checkpoint import Checkpoint
from trainer.models.encoders import MaskedBatchNorm
from trainer.models.network import Network
from trainer.objectives.metrics import classification
from trainer.params import Params
from trainer.store import write_table
from trainer.training.loop import make_deterministic

RANDOM = "random"
PENALTIES = np.logspace(1, 5, 9)  # ridge, chosen by leave-one-out on the training rows
BATCH = 64


def probe(
    shards_folder: str | Path,
    parents: Sequence[str | Path],
    out: str | Path,
    params: Params,
    *,
    draws: int = 8,
    randoms: int = 2,
    cache: str | Path = ".cache/trainer",
) -> pd.DataFrame:
    """Probe ``parents`` and ``randoms`` fresh networks of the first one's shape; write and return one row a test.

    Folds, target, share of the labels and normalisation are those of section ``finetune`` (no early stopping, hence no
    dev speakers; a random network has no parent's statistics and gets the training rows'); ``draws`` label draws where
    the share is below 1. ``out``: .csv or .parquet.

    Raises:
        InputError: another objective than ``hard``, or a parent that does not fit the shards or was pretrained on a
            test speaker.
    """
    options = params.finetune
    if options.objective != "hard":
        raise InputError(
            f"the probe answers with one class: it goes with finetune.objective hard, not {options.objective}"
        )
    shards = open_labelled(shards_folder, options, cache=cache)
    loaded = {Path(parent).name: Parents.read(parent) for parent in parents}
    if len(loaded) < len(parents) or not parents:
        raise InputError("the probe needs model folders of different names")
    for parent in loaded.values():
        for one in (parent.everyone, *parent.folds.values()):
            _checkpoint(one).spec.check(shards)
    corpora = text(shards.rows, "corpus")
    records: list[dict[str, Any]] = []
    for corpus in sorted(set(corpora)):
        rows = np.flatnonzero(corpora == corpus)
        given = list(shards.rows[options.target].iloc[rows]) if options.target in shards.rows else []
        classes = label_names(given)
        if len(classes) < 2:
            continue
        labels = class_indices(given, classes)
        rows, labels = rows[labels != MISSING], labels[labels != MISSING]
        table = shards.rows.iloc[rows]
        keys = speaker_keys(table)
        for number, fold in enumerate(folds(table, how=options.folds)):
            models = {name: _checkpoint(parent.of(corpus, fold.name)) for name, parent in loaded.items()}
            _refuse_test_speakers(models, set(keys[fold.test]), corpus)
            own = Normalisation.fit(shards, rows[fold.train], clip=params.encoder.clip, scope=options.scope)
            networks = {
                name: (parent.network, parent.spec.normalisation if options.normalisation == "parent" else own)
                for name, parent in models.items()
            }
            for seed in range(randoms):
                make_deterministic(params.trainer, seed=seed)
                fresh = next(iter(models.values())).spec.build()
                settle(fresh, shards, rows[fold.train], own)
                networks[f"{RANDOM} {seed}"] = fresh, own
            for name, (network, normalisation) in networks.items():
                x = describe(network, shards, rows, normalisation)
                for draw in range(draws if options.share < 1 else 1):
                    rng = np.random.default_rng([draw, number])
                    chosen = fold.train[label_subset(labels[fold.train], fraction=options.share, rng=rng)]
                    found = _classify(x, labels, chosen, fold.test)
                    identity = {"corpus": corpus, "network": name, "fold": fold.name, "draw": draw}
                    settings = {"label_fraction": options.share, "normalisation": options.normalisation}
                    records.append({**identity, **settings, **found})
    if not records:
        raise InputError(f"{shards.folder}: no corpus with two classes in column {options.target!r} (finetune.target)")
    result = pd.DataFrame(records)
    write_table(out, result)
    return result


def describe(network: Network, shards: Shards, rows: IntArray, normalisation: Normalisation) -> FloatArray:
    """Return the statistics of the frame layers over whole utterances, (len(rows), D)."""
    network.eval()
    encoder = network.encoder
    with torch.no_grad():
        batches = (_padded(shards, batch, normalisation) for batch in _batches(rows))  # one in memory at a time
        parts = [encoder.chunk_encoder.describe(encoder.layer_sum(x), mask) for x, mask in batches]
    return torch.cat(parts).numpy()


def settle(network: Network, shards: Shards, rows: IntArray, normalisation: Normalisation) -> None:
    """Set the batch statistics of a fresh network to the average over ``rows``."""
    norms = [module for module in network.modules() if isinstance(module, MaskedBatchNorm)]
    network.train()
    with torch.no_grad():
        for number, batch in enumerate(_batches(rows), start=1):
            for norm in norms:
                norm.momentum = 1 / number  # the running average becomes the plain one
            x, mask = _padded(shards, batch, normalisation)
            network.encoder.chunk_encoder.describe(network.encoder.layer_sum(x), mask)
    network.eval()


def compare(result: pd.DataFrame) -> pd.DataFrame:
    """Macro F1 of every network and its difference to the mean of the random ones on the same folds and draws.

    Columns: mean, and of the differences number, mean and standard error, over all pairs and over folds alone: label
    draws of one fold share their test speakers, so that the latter is the safer one.
    """
    pairs = ["corpus", "fold", "draw"]
    is_random = result["network"].str.startswith(f"{RANDOM} ")
    control = result[is_random].groupby(pairs)["macro_f1"].mean()
    named = result.assign(network=result["network"].where(~is_random, RANDOM))
    rows = []
    for (corpus, network), group in named.groupby(["corpus", "network"], sort=True):
        score = group.groupby(pairs)["macro_f1"].mean()
        difference = score - control.loc[score.index]
        by_fold = difference.groupby("fold").mean()
        rows.append(
            {
                "corpus": corpus,
                "network": network,
                "macro_f1": score.mean(),
                "difference": difference.mean(),
                "se_pairs": difference.sem(),
                "pairs": len(difference),
                "se_folds": by_fold.sem(),
                "folds": len(by_fold),
            }
        )
    return pd.DataFrame(rows)


def _checkpoint(parent: Parent) -> Checkpoint:
    if parent.checkpoint is None:
        raise ValueError(f"{parent.folder} was not read")
    return parent.checkpoint


def _refuse_test_speakers(loaded: dict[str, Checkpoint], test: set[str], corpus: str) -> None:
    for name, parent in loaded.items():
        known = sorted(test & set(parent.config["speakers"]))
        if known:
            raise InputError(
                f"corpus {corpus}: test speaker(s) {', '.join(known[:5])} were heard in pretraining {name}: "
                "pretrain with pretrain.per_fold, or without their films (pretrain.corpora)"
            )


def _classify(x: FloatArray, labels: IntArray, train: IntArray, test: IntArray) -> dict[str, float]:
    model = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=PENALTIES, class_weight="balanced"))
    model.fit(x[train], labels[train])
    return {"n_train": len(train), "n_test": len(test), **classification(labels[test], model.predict(x[test]))}


def _batches(rows: IntArray) -> list[IntArray]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def _padded(shards: Shards, rows: IntArray, normalisation: Normalisation) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole utterances, (B, longest, F), 0 where padded, and their mask (B, longest)."""
    lengths = shards.lengths[rows]
    mask: npt.NDArray[np.bool_] = np.arange(lengths.max()) < lengths[:, None]
    x = np.zeros((*mask.shape, len(shards.feature_names)), dtype=np.float32)
    means, stds = normalisation.of_rows(shards, rows)
    for position, row in enumerate(rows):
        frames = np.array(shards.features[shards.offsets[row] : shards.offsets[row + 1]])
        x[position, : len(frames)] = normalisation.apply(frames, mean=means[position], std=stds[position])
    return torch.from_numpy(x), torch.from_numpy(mask)
