"""Votes that nobody gave: raters who confuse emotions as CREMA-D's raters do, for corpora that come without votes.

Each simulated rater draws one emotion from the row of the intended emotion in CREMA-D's confusion table, whatever the
other raters drew and whatever the sound is like. So the average confusion is real; that some utterances are clearer
than others is not in it. Every row says ``label_source`` simulated, and so does every result.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.corpora.crema_d import ACTED, BLOCKS, LETTERS, NAME, read_ratings
from pipeline.corpora.votes import vote_columns
from pipeline.errors import InputError
from pipeline.manifest.csv_file import write_manifest
from pipeline.manifest.row import COLUMNS, ManifestRow
from pipeline.manifest.table import read_rows

VOTES = tuple(name for name in COLUMNS if name.startswith("votes_"))
_NAMES = tuple(LETTERS.values())


def confusion(crema_d: Path, source: str) -> pd.DataFrame:
    """Return intended emotion x chosen emotion, shares of all votes (rows sum to 1), over all rated clips.

    Args:
        crema_d: the corpus's repository, with its vote table.
        source: voice, face or audiovisual.

    Raises:
        InputError: another source, or the vote table is missing.
    """
    if source not in BLOCKS:
        raise InputError(f"--source {source!r} is not one of {', '.join(BLOCKS)}")
    counts = pd.DataFrame(0.0, index=list(_NAMES), columns=list(_NAMES))
    for clip, (votes, _) in read_ratings(crema_d, source).items():
        if match := NAME.fullmatch(clip):
            counts.loc[ACTED[match[3]]] += pd.Series(votes)
    return counts.div(counts.sum(axis=1), axis=0)


def simulate(
    rows: Iterable[ManifestRow], table: pd.DataFrame, *, raters: int, seed: int
) -> tuple[list[ManifestRow], Counter[str]]:
    """Return the rows whose emotion ``table`` knows, with votes; and how many others there were, by emotion.

    Args:
        rows: with the intended emotion in ``emotion``.
        table: intended x chosen, rows sum to 1; see `confusion`.
        raters: votes an utterance.
        seed: of the draws; a row's votes depend on it and on the row's corpus and clip id alone.
    """
    kept: list[ManifestRow] = []
    without: Counter[str] = Counter()
    for row in rows:
        if row.emotion not in table.index:
            without[row.emotion or "(no label)"] += 1
            continue
        digest = hashlib.sha256(f"{seed}:{row.corpus}:{row.clip_id}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        drawn = rng.multinomial(raters, table.loc[row.emotion].to_numpy(float))
        votes = vote_columns(dict(zip(table.columns, drawn.tolist(), strict=True)))
        kept.append(row.model_copy(update={**votes, "label_source": "simulated", "label_rule": ""}))
    return kept, without


def simulate_manifest(
    manifest: Path, *, crema_d: Path, output: Path, source: str = "voice", raters: int = 10, seed: int = 0
) -> str:
    """Write ``manifest`` with simulated votes to ``output``; return what was done, for people.

    Raises:
        InputError: a row already has votes or a label that is not acted, or no emotion is CREMA-D's.
    """
    rows = read_rows(manifest)
    rated = [row.clip_id for row in rows if any(getattr(row, name) is not None for name in VOTES)]
    if rated:
        raise InputError(f"{manifest}: {len(rated)} rows have votes already, the first is {rated[0]!r}: use those")
    perceived = [row.clip_id for row in rows if row.emotion and row.label_source not in ("", "acted")]
    if perceived:
        raise InputError(
            f"{manifest}: {len(perceived)} labels are not what an actor intended, the first is that of "
            f"{perceived[0]!r}: the confusion table starts from intended emotions"
        )
    kept, without = simulate(rows, confusion(crema_d, source), raters=raters, seed=seed)
    if not kept:
        raise InputError(f"{manifest}: no row has one of the emotions {', '.join(_NAMES)}")
    write_manifest(kept, output)
    dropped = ", ".join(f"{count} {name}" for name, count in sorted(without.items()))
    left = f"; left out, as CREMA-D has no such emotion: {dropped}" if without else ""
    return f"{output}: {len(kept)} rows with {raters} simulated votes each (CREMA-D, {source}, seed {seed}){left}"
