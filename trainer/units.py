"""What a fine-tuning run consists of: units (corpus, mode, fold, seed), each under a key of its content.

Every protocol check is made here, before anything is trained. The key is why a killed run resumes, a repeated run
costs nothing, and changed data, parameters or code never meet an old result.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.chunking import IntArray
from trainer.data import MISSING, class_indices, label_names
from trainer.errors import InputError
from trainer.folder import Loaded, package_versions
from trainer.params import Params
from trainer.protocol import Fold, assert_disjoint, folds, hold_out_speakers, label_subset, speaker_keys, text
from trainer.results import slug
from trainer.shards import Shards

# modules that show or start results but change no number
_OUTSIDE_KEY = frozenset(
    {
        "__main__.py",
        "cli.py",
        "collect.py",
        "figures.py",
        "page.py",
        "predict.py",
        "probe.py",
        "report.py",
        "results.py",
    }
)


@dataclass(frozen=True)
class Unit:
    """One training: row indices into the shards, one seed, one mode."""

    corpus: str
    mode: str
    seed: int
    fold: str
    train: IntArray
    dev: IntArray
    test: IntArray
    classes: tuple[str, ...]
    key: str

    @property
    def name(self) -> str:
        """Readable and usable as a file name."""
        return f"{slug(self.fold)}_seed{self.seed}"


def plan(shards: Shards, params: Params, parent: Loaded | None) -> list[Unit]:
    """All units of all corpora, with every protocol check done before anything is trained."""
    options = params.finetune
    if options.target not in shards.rows:
        raise InputError(f"{shards.folder}: no column {options.target!r} (finetune.target)")
    corpora = text(shards.rows, "corpus")
    known = label_names(list(shards.rows[options.target]))
    has_label = class_indices(list(shards.rows[options.target]), known) != MISSING
    if not has_label.any():
        raise InputError(f"{shards.folder}: column {options.target!r} (finetune.target) holds no label")
    pretrain_speakers = set(parent.config["speakers"]) if parent is not None else set()
    base = _base_key(shards, params)
    units = []
    for corpus in sorted(set(corpora[has_label])):
        rows = np.flatnonzero((corpora == corpus) & has_label)
        table = shards.rows.iloc[rows]
        classes = label_names(list(table[options.target]))
        if len(classes) < 2:
            raise InputError(f"corpus {corpus}: only one class ({classes[0]}) in column {options.target!r}")
        keys = speaker_keys(table)
        labels = class_indices(list(table[options.target]), classes)
        for number, fold in enumerate(folds(table, how=options.folds)):
            if not options.allow_pretrain_speakers:
                heard = sorted(pretrain_speakers & set(keys[fold.test]))
                if heard:
                    raise InputError(
                        f"corpus {corpus}, {fold.name}: test speaker(s) {', '.join(heard[:5])} were heard in "
                        "pretraining; leave them out of the unlabelled set, or set finetune.allow_pretrain_speakers "
                        "(every result will say so)"
                    )
            for seed in options.seeds:
                rng = np.random.default_rng([seed, number])
                train, dev = _early_stopping(table, keys, fold, share=options.dev_share, rng=rng)
                assert_disjoint({"train": keys[train], "dev": keys[dev], "test": keys[fold.test]})
                train = train[label_subset(labels[train], fraction=options.label_fraction, rng=rng)]
                for mode in options.modes:
                    identity = {**base, "corpus": corpus, "mode": mode, "seed": seed, "fold": fold.name}
                    if mode != "scratch" and parent is not None:
                        identity["parent"] = parent.fingerprint
                        identity["transfer"] = [options.transfer, options.normalisation]
                    sides = [rows[train], rows[dev], rows[fold.test]]
                    identity["rows"] = [side.tolist() for side in sides]
                    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
                    units.append(
                        Unit(
                            corpus=corpus,
                            mode=mode,
                            seed=seed,
                            fold=fold.name,
                            train=sides[0],
                            dev=sides[1],
                            test=sides[2],
                            classes=tuple(classes),
                            key=key,
                        )
                    )
    return units


def check_parent(parent: Loaded, shards: Shards, params: Params, folder: Path) -> None:
    """Raise InputError unless the pretrained encoder takes these features and has the shape that is asked for."""
    parent.spec.check(shards)
    differing = [
        name
        for name in type(params.encoder).model_fields
        if name not in ("dropout", "max_seconds")  # neither changes what the weights mean
        and getattr(params.encoder, name) != getattr(parent.spec.encoder, name)
    ]
    if differing:
        raise InputError(
            f"{folder} was pretrained with another encoder ({', '.join(differing)} differ): run pretrain again"
        )


def _early_stopping(
    table: pd.DataFrame, keys: np.ndarray, fold: Fold, *, share: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Training and early-stopping rows of a fold: given dev rows, else whole training speakers."""
    if fold.dev is not None:
        return fold.train, fold.dev
    try:
        kept, held = hold_out_speakers(table.iloc[fold.train], keys[fold.train], share=share, rng=rng)
    except InputError as error:
        raise InputError(f"{fold.name}, training part: {error}") from None
    return fold.train[kept], fold.train[held]


def _base_key(shards: Shards, params: Params) -> dict[str, Any]:
    """Name what every unit's result depends on; what only chooses or shows units is left out."""
    choosing = {"modes", "seeds", "folds", "keep", "allow_pretrain_speakers", "transfer", "normalisation"}
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.name not in _OUTSIDE_KEY:
            code.update(path.name.encode() + path.read_bytes())
    return {
        "shards": shards.fingerprint,
        "trainer": params.trainer.model_dump(mode="json"),
        "encoder": params.encoder.model_dump(mode="json"),
        "finetune": params.finetune.model_dump(mode="json", exclude=choosing),
        "code": code.hexdigest(),
        "packages": package_versions(),
    }
