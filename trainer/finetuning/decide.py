"""What ``auto`` means in section ``finetune``, decided by the data that is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.data.shards import Shards, has_shards, open_shards
from trainer.finetuning.face_teacher import shown_clips
from trainer.finetuning.labelled import labelled_sets
from trainer.params import FinetuneParams, Params

SYNTHETIC = "synthetic"  # names of generated corpora begin with it
FEW = 0.125  # of a generated corpus' labels: its comparison is about few of them


def decide(params: Params, labelled: Shards, films: Shards | None = None) -> Params:
    """Return ``params`` with ``label_fraction`` and ``modes`` of section finetune decided.

    ``label_fraction: auto`` is all labels, and an eighth where all corpora are generated. ``modes: auto`` is scratch
    and pretrained, and student where it can be taught by the face: ``films`` show labelled utterances, some of which
    have no label or one that is not used.
    """
    options = params.finetune
    if options.label_fraction == "auto":
        generated = all(str(name).startswith(SYNTHETIC) for name in set(labelled.corpora))
        options = options.model_copy(update={"label_fraction": FEW if generated else 1.0})
    if options.modes == "auto":
        student = films is not None and _can_be_taught(options, labelled, films)
        modes = ("scratch", "pretrained", *(("student",) if student else ()))
        options = options.model_copy(update={"modes": modes})
    return params.model_copy(update={"finetune": options})


def with_films(
    params: Params, labelled: Shards, films: str | Path | None, *, cache: str | Path
) -> tuple[Params, Shards | None]:
    """Return what `decide` says, and the unlabelled shards if a mode looks at them; they are opened only for that."""
    asked = params.finetune.needs_films or params.finetune.modes == "auto"
    there = films is not None and asked and has_shards(films)
    opened = open_shards(films, cache=cache) if films is not None and there else None
    decided = decide(params, labelled, opened)
    return decided, opened if decided.finetune.needs_films else None


def _can_be_taught(options: FinetuneParams, labelled: Shards, films: Shards) -> bool:
    plain = options.objective == "hard" and options.penalty.form == "none" and not options.label_smoothing
    if not plain or not options.self_training.face or not shown_clips(labelled, films):
        return False
    used = np.unique(np.concatenate([corpus.rows for corpus in labelled_sets(labelled, options)]))
    return options.share < 1 or len(used) < len(labelled.rows)
