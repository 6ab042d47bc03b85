"""Which classes are recognised, and which labels are one class: ``finetune.classes``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from trainer.data.rows import label_names
from trainer.data.shards import Shards, open_shards
from trainer.errors import InputError
from trainer.params import FinetuneParams

Classes = Mapping[str, Sequence[str]]  # class -> the labels that are it
VOTES, VOTE, OTHER = "votes", "votes_", "votes_other"  # target; columns; those that count for no class


def open_labelled(folder: str | Path, options: FinetuneParams, *, cache: str | Path = ".cache/trainer") -> Shards:
    """Open labelled shards, whose labels are those of ``finetune.classes``.

    Raises:
        InputError: as `open_shards`; a label that no row has.
    """
    return with_classes(open_shards(folder, cache=cache), options)


def with_classes(shards: Shards, options: FinetuneParams) -> Shards:
    """Return the shards with the labels of ``finetune.target`` chosen and merged; without classes as they are.

    A label of no class is no label: its row is neither trained nor tested, and counts as speech without a label. Votes
    are added up.

    Raises:
        InputError: a label that no row has.
    """
    return replace(shards, rows=merged(shards.rows, options, where=str(shards.folder))) if options.classes else shards


def merged(rows: pd.DataFrame, options: FinetuneParams, *, where: str) -> pd.DataFrame:
    """Return the same of rows alone; ``where`` is what to call them in a message."""
    if not options.classes:
        return rows
    if options.target == VOTES:
        return merged_votes(rows, options.classes, where=where)
    return merged_labels(rows, options.target, options.classes, where=where)


def merged_labels(rows: pd.DataFrame, target: str, classes: Classes, *, where: str) -> pd.DataFrame:
    """Return the rows with the labels of a column chosen and merged."""
    if target not in rows:
        return rows
    _check(label_names(list(rows[target])), classes, f"{where}, column {target}")
    names = {label: name for name, labels in classes.items() for label in labels}
    merged = [names.get(label) if isinstance(label, str) else None for label in rows[target]]
    return rows.assign(**{target: pd.Series(merged, index=rows.index, dtype=object)})


def merged_votes(rows: pd.DataFrame, classes: Classes, *, where: str) -> pd.DataFrame:
    """Return the rows with the columns of votes chosen and added up; those for other classes join ``votes_other``."""
    columns = [str(name) for name in rows if str(name).startswith(VOTE)]
    _check([name.removeprefix(VOTE) for name in columns], classes, f"{where}, columns {VOTE}*")
    groups = {f"{VOTE}{name}": [f"{VOTE}{label}" for label in labels] for name, labels in classes.items()}
    others = [name for name in columns if not any(name in members for members in groups.values())]
    if others:
        groups[OTHER] = others
    added = {name: rows[members].sum(axis=1, min_count=1) for name, members in groups.items()}
    return pd.concat([rows.drop(columns=columns), pd.DataFrame(added, index=rows.index)], axis=1)


def _check(known: Sequence[str], classes: Classes, where: str) -> None:
    unknown = sorted({label for labels in classes.values() for label in labels} - set(known))
    if unknown and known:
        raise InputError(
            f"finetune.classes names {', '.join(unknown)}, which no row is labelled with ({where}: "
            f"{', '.join(sorted(known))})"
        )
