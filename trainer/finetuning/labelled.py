"""The labelled rows that are trained and tested together: of each corpus by itself, or across corpora."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from trainer.data.arrays import IntArray
from trainer.data.rows import Target, Texts, text
from trainer.data.shards import Shards
from trainer.data.splits import Fold, folds
from trainer.errors import InputError
from trainer.objectives import OBJECTIVES, Objective
from trainer.params import FinetuneParams

ALL = "all rows"  # the fold of a final model


@dataclass(frozen=True)
class Labelled:
    """N labelled rows and their folds.

    Attributes:
        name: of the corpus; across corpora of the one that is tested.
        rows: (N,) indices into the shards.
        table: their scalar columns.
        speakers: (N,) keys.
        objective: what is recognised.
        labels: encoded for it.
        label_source: where the labels come from.
        label_rule: how votes became labels.
        only: the one fold, across corpora; else the folds are those of ``finetune.folds``.
        joined: names of the corpora whose rows all train beside each fold's (``finetune.joint``).
        n_own: rows of the corpus itself, which come first; the others' follow.
    """

    name: str
    rows: IntArray
    table: pd.DataFrame
    speakers: Texts
    objective: Objective
    labels: Target
    label_source: str
    label_rule: str
    only: Fold | None = None
    joined: tuple[str, ...] = ()
    n_own: int | None = None

    def folds(self, options: FinetuneParams) -> list[Fold]:
        """Return the splits; indices are positions in ``rows``."""
        if self.only is not None:
            return [self.only]
        own = folds(self.table[: self.n_own], how=options.folds, dev="fold" if options.dev == "fold" else "speakers")
        if not self.joined:
            return own
        others = np.arange(self.n_own or 0, len(self.rows))
        note = f", trained with {' + '.join(self.joined)}"
        return [
            replace(fold, train=np.concatenate([fold.train, others]), protocol=fold.protocol + note) for fold in own
        ]


def training_speech(shards: Shards, corpus: Labelled, fold: Fold, *, dev: IntArray, test: IntArray) -> IntArray:
    """Return all rows of a fold's training speakers, whether they have a label or not.

    Args:
        shards: labelled.
        corpus: the rows that have a label.
        fold: whose training part counts.
        dev: rows of early stopping, as indices into the shards; their speakers are left out.
        test: rows of the test, likewise.
    """
    speakers = set(corpus.speakers[fold.train]) - set(shards.speakers[dev]) - set(shards.speakers[test])
    corpora = set(shards.corpora[corpus.rows[fold.train]])
    theirs = np.isin(shards.speakers, list(speakers)) & np.isin(shards.corpora, list(corpora))
    held = np.setdiff1d(corpus.rows, corpus.rows[fold.train])  # of a given split that nobody trains on
    theirs[held] = False
    return np.flatnonzero(theirs)


def labelled_sets(shards: Shards, options: FinetuneParams) -> list[Labelled]:
    """Return every corpus that has labels, or with ``finetune.folds: corpus`` every corpus tested by the others.

    Raises:
        InputError: there are no labels, or a corpus mixes their sources; across corpora as `_across` says.
    """
    found = list(_corpora(shards, options))
    if not found:
        raise InputError(
            f"{shards.folder}: no row has a label for finetune.target {options.target!r} ({options.objective})"
        )
    if options.folds == "corpus":
        return list(_across(shards, options, found))
    return [_joined(shards, options, one, found) for one in found] if options.joint else found


def _joined(shards: Shards, options: FinetuneParams, corpus: Labelled, corpora: list[Labelled]) -> Labelled:
    """Add the rows of all other corpora that have one of the corpus' own classes; what is tested does not change."""
    parts = [corpus.rows]
    names = []
    for other in corpora:
        theirs = np.isin(np.array(other.objective.names, dtype=object)[other.labels], corpus.objective.names)
        if other is not corpus and theirs.any():
            parts.append(other.rows[theirs])
            names.append(other.name)
    rows = np.concatenate(parts)
    table = shards.rows.iloc[rows]
    return replace(
        corpus, rows=rows, table=table, speakers=shards.speakers[rows],
        labels=corpus.objective.encode(table, options.target), joined=tuple(names), n_own=len(corpus.rows),
    )  # fmt: skip


def _across(shards: Shards, options: FinetuneParams, corpora: list[Labelled]) -> Iterator[Labelled]:
    """Every corpus in turn as test set of a network that learnt from all others, over the classes that all share.

    Raises:
        InputError: there is one corpus, the objective is not ``hard``, or they share fewer than two classes.
    """
    if len(corpora) < 2:
        raise InputError(
            f"finetune.folds is corpus, but only {corpora[0].name} has labels: name another corpus in the manifest, or "
            "choose other folds"
        )
    if options.objective != "hard":
        raise InputError(f"finetune.folds corpus needs finetune.objective hard, not {options.objective}")
    joined = _shared(shards, options, corpora)
    at = joined.table["corpus"].to_numpy()
    for tested in corpora:
        others = [corpus.name for corpus in corpora if corpus is not tested]
        fold = Fold(
            f"test {tested.name}",
            np.flatnonzero(at != tested.name),
            np.flatnonzero(at == tested.name),
            protocol=f"trained on {' + '.join(others)}",
        )
        yield replace(joined, name=tested.name, only=fold)


def joined_set(shards: Shards, options: FinetuneParams) -> Labelled:
    """Return all corpora as one set, over the classes they share: what a final model across corpora learns from."""
    return _shared(shards, options, list(_corpora(shards, options)))


def _shared(shards: Shards, options: FinetuneParams, corpora: list[Labelled]) -> Labelled:
    """All rows of the classes that every corpus has."""
    shared = set.intersection(*(set(corpus.objective.names) for corpus in corpora))
    if len(shared) < 2:
        names = "; ".join(f"{corpus.name}: {', '.join(corpus.objective.names)}" for corpus in corpora)
        raise InputError(f"finetune.folds is corpus, but the corpora share fewer than two classes ({names})")
    rows = np.concatenate([corpus.rows for corpus in corpora])
    table = shards.rows.iloc[rows]
    keep = table[options.target].isin(shared).to_numpy()
    rows, table = rows[keep], table[keep]
    objective = OBJECTIVES[options.objective].plan(table, options)
    # A table names all sources: across corpora they may differ, and then the number is about that too.
    source = "+".join(sorted({corpus.label_source for corpus in corpora} - {""}))
    rule = "+".join(sorted({corpus.label_rule for corpus in corpora} - {""}))
    labels = objective.encode(table, options.target)
    name = "+".join(corpus.name for corpus in corpora)
    return Labelled(name, rows, table, shards.speakers[rows], objective, labels, source, rule)


def _corpora(shards: Shards, options: FinetuneParams) -> Iterator[Labelled]:
    """Every corpus that has labels."""
    for name in sorted(set(shards.corpora)):
        rows = np.flatnonzero(shards.corpora == name)
        table = shards.rows.iloc[rows]
        try:
            objective = OBJECTIVES[options.objective].plan(table, options)
        except InputError as error:
            raise InputError(f"corpus {name}: {error}") from None
        if not objective.names:
            continue
        labels = objective.encode(table, options.target)
        has = objective.labelled(labels)
        if has.any():
            table, rows = table[has], rows[has]
            source = objective.source(_one_value(table, "label_source", corpus=name))
            rule = objective.rule(_one_value(table, "label_rule", corpus=name) if objective.of_emotion else "")
            yield Labelled(name, rows, table, shards.speakers[rows], objective, labels[has], source, rule)


def _one_value(table: pd.DataFrame, column: str, *, corpus: str) -> str:
    """Return the one value of a corpus in ``column``, "" if it is empty.

    Raises InputError that names the values if they differ: labels from acting, from voices and from faces answer
    different questions, and a number over a mixture of them answers none.
    """
    values = text(table, column)
    found = {value: np.flatnonzero(values == value) for value in sorted(set(values))}
    if len(found) > 1:
        ids = text(table, "segment_id")
        places = [f"{value or '(not stated)'!r} ({len(at)} rows, e.g. {ids[at[0]]})" for value, at in found.items()]
        raise InputError(f"corpus {corpus} mixes the {column} {' and '.join(places)}: make one set for each")
    return str(values[0])
