"""Which trainings fine-tuning consists of: runs (corpus, mode, fold, seed), each under a key of its content.

Every protocol check is made here, before anything is trained. The key is why a killed command resumes, a repeated one
costs nothing, and changed data, parameters or code never meet an old result.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer.data.arrays import IntArray
from trainer.data.chunking import note_long_clips
from trainer.data.shards import Shards
from trainer.data.splits import NOBODY, Fold, assert_disjoint, hold_out_speakers, label_subset
from trainer.errors import InputError
from trainer.finetuning.labelled import ALL, Labelled, joined_set, labelled_sets, training_speech
from trainer.finetuning.parents import Parent, Parents
from trainer.finetuning.side_task import SideTask
from trainer.finetuning.students import ENSEMBLE, STUDENT, WITH_TEACHERS, rest_of, teacher_seeds
from trainer.objectives import Objective
from trainer.params import FROM_PARENT, FinetuneParams, Params
from trainer.store import code_fingerprint, content_key, package_versions, slug

PLAIN = SideTask()
Sides = Mapping[str, SideTask]  # mode -> what it trains beside the target; modes that are missing train plainly


class Rows(NamedTuple):
    """Rows of a fold, as indices into the shards; ``votes``: see `Run`."""

    train: IntArray
    dev: IntArray
    test: IntArray
    votes: IntArray


@dataclass(frozen=True)
class Run:
    """One training: row indices into the shards, one seed, one mode."""

    corpus: str
    mode: str
    seed: int
    fold: str
    protocol: str  # what kind of folds
    train: IntArray
    dev: IntArray
    test: IntArray
    objective: Objective
    label_source: str
    label_rule: str
    side: dict[str, Any]  # identity of its side task
    parent: Path | None  # model folder that it starts from
    key: str
    # rows of all training speakers, whose votes make the penalisation matrix; empty without one
    votes: IntArray = field(default_factory=lambda: NOBODY)
    teachers: tuple[Run, ...] = ()  # runs that a student waits for
    rest: IntArray = field(default_factory=lambda: NOBODY)  # rows that they label

    @property
    def identity(self) -> dict[str, Any]:
        """What names it in every table."""
        return {"corpus": self.corpus, "mode": self.mode, "fold": self.fold, "seed": self.seed}

    @property
    def name(self) -> str:
        """Readable and usable as a file name."""
        return f"{slug(self.fold)}_seed{self.seed}"

    def __str__(self) -> str:
        """As in a progress line."""
        return f"{self.corpus} {self.mode} {self.fold} seed {self.seed}"


def plan(
    shards: Shards,
    params: Params,
    parents: Parents | None,
    *,
    modes: Sequence[str] | None = None,
    side: Sides | None = None,
    films: Shards | None = None,
    corpora: Collection[str] = (),
) -> list[Run]:
    """Lay out all runs of all corpora, with every protocol check done before anything is trained.

    ``parents``: what the modes but scratch start from; runs of one that is still to be trained have keys of no stored
    run. ``modes``: instead of those of section finetune. ``side``: the side tasks that the runs will be trained with.
    ``films``: the unlabelled shards, for a teacher that looks. ``corpora``: only these; empty: all.
    Raises InputError if a split leaks, a test speaker is a pretraining speaker, or labels do not fit the objective.
    """
    options = params.finetune
    tasks = {mode: (side or {}).get(mode, PLAIN).identity() for mode in (options.chosen if modes is None else modes)}
    runs: list[Run] = []
    for corpus in (one for one in labelled_sets(shards, options) if not corpora or one.name in corpora):
        note_long_clips(shards, corpus.rows, params.encoder)
        for number, fold in enumerate(corpus.folds(options)):
            parent = parents.of(corpus.name, fold.name) if parents is not None else None
            if parent is not None and not options.allow_pretrain_speakers:
                _refuse_pretrain_speakers(corpus, fold, parent)
            identities = {mode: _identity(shards, params, mode, parent, films) for mode in tasks}
            for seed in options.seeds:
                rows = _draw_rows(shards, corpus, fold, options, seed=seed, number=number)
                for mode, task in tasks.items():
                    run = _run(corpus, fold, rows, parent, mode=mode, seed=seed, side=task, identity=identities[mode])
                    runs.append(
                        _with_teachers(shards, params, corpus, fold, run, number) if mode in WITH_TEACHERS else run
                    )
    return runs


def _with_teachers(shards: Shards, params: Params, corpus: Labelled, fold: Fold, run: Run, number: int) -> Run:
    """Add the teachers of a student or an ensemble, and the rows that they label."""
    options, rows = params.finetune.self_training, Rows(run.train, run.dev, run.test, run.votes)
    identity = _identity(shards, params, "scratch", None)
    plain = PLAIN.identity()
    seeds = teacher_seeds(run.seed, options.teachers)
    teachers = [
        _run(corpus, fold, rows, None, mode="scratch", seed=seed, side=plain, identity=identity) for seed in seeds
    ]
    if run.mode == ENSEMBLE:
        return replace(run, teachers=tuple(teachers), key=content_key({"ensemble": [one.key for one in teachers]}))
    rng = np.random.default_rng([run.seed, number, 5])
    speech = training_speech(shards, corpus, fold, dev=run.dev, test=run.test)
    rest = rest_of(speech, run.train, share=options.share, rng=rng, where=f"corpus {corpus.name}, {fold.name}")
    key = content_key({"student": run.key, "teachers": [one.key for one in teachers], "rest": rest.tolist()})
    return replace(run, teachers=tuple(teachers), rest=rest, key=key)


def plan_final(
    shards: Shards,
    params: Params,
    parents: Parents | None,
    *,
    mode: str,
    side: Sides | None = None,
    films: Shards | None = None,
) -> list[Run]:
    """Lay out the trainings on all labelled rows, one a corpus (with ``finetune.folds: corpus`` one on all of them).

    They are those of `plan` but for the rows: nobody is tested, so that they start from the model of all films, and the
    first seed draws.
    """
    options = params.finetune
    task = (side or {}).get(mode, PLAIN).identity()
    parent = parents.everyone if parents is not None else None
    identity = _identity(shards, params, mode, parent, films)
    sets = [joined_set(shards, options)] if options.folds == "corpus" else labelled_sets(shards, options)
    runs = []
    for corpus in sets:
        fold = Fold(ALL, np.arange(len(corpus.rows)), NOBODY, protocol=ALL)
        rows = _draw_rows(shards, corpus, fold, options, seed=options.seeds[0], number=0)
        run = _run(corpus, fold, rows, parent, mode=mode, seed=options.seeds[0], side=task, identity=identity)
        runs.append(_with_teachers(shards, params, corpus, fold, run, 0) if mode in WITH_TEACHERS else run)
    return runs


def normalisation_of(mode: str, options: FinetuneParams) -> str:
    """Whose statistics normalise the features of a mode: train, parent, speaker or utterance; every result names it."""
    return "train" if mode not in FROM_PARENT and options.normalisation == "parent" else options.normalisation


def _refuse_pretrain_speakers(corpus: Labelled, fold: Fold, parent: Parent) -> None:
    shared = sorted(parent.speakers & set(corpus.speakers[fold.test]))
    if shared:
        raise InputError(
            f"corpus {corpus.name}, {fold.name}: test speaker(s) {', '.join(shared[:5])} were heard in pretraining "
            f"({parent.folder}); run pretrain again with pretrain.per_fold (a model a fold, without them), leave them "
            "out of the unlabelled set, or set finetune.allow_pretrain_speakers (every result will name it)"
        )


def _draw_rows(
    shards: Shards, corpus: Labelled, fold: Fold, options: FinetuneParams, *, seed: int, number: int
) -> Rows:
    """Rows of a fold."""
    rng = np.random.default_rng([seed, number])
    train, dev = _early_stopping(corpus, fold, options, rng=rng)
    assert_disjoint(
        {side: corpus.speakers[rows] for side, rows in (("train", train), ("dev", dev), ("test", fold.test))}
    )
    own = train if corpus.n_own is None else train[train < corpus.n_own]  # corpora that join keep all their labels
    strata = corpus.objective.strata(corpus.labels[own])
    chosen = own[label_subset(strata, fraction=options.share, rng=rng)]
    train = np.concatenate([chosen, train[len(own) :]])
    dev, test = corpus.rows[dev], corpus.rows[fold.test]
    votes = NOBODY
    if options.penalty.form != "none":  # the matrix is about people, not about the labels that are used
        votes = training_speech(shards, corpus, fold, dev=dev, test=test)
    return Rows(corpus.rows[train], dev, test, votes)


def _early_stopping(
    corpus: Labelled, fold: Fold, options: FinetuneParams, *, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Training and early-stopping rows of a fold: given dev rows, else whole training speakers, or none."""
    if options.dev == "none":  # rows that the manifest itself calls dev are nobody's training rows all the same
        return fold.train, NOBODY
    if fold.dev is not None:
        return fold.train, fold.dev
    speakers = corpus.speakers[fold.train]
    try:
        kept, held = hold_out_speakers(np.full_like(speakers, corpus.name), speakers, share=options.dev_share, rng=rng)
    except InputError as error:
        raise InputError(f"{fold.name}, training part: {error}") from None
    return fold.train[kept], fold.train[held]


def _run(
    corpus: Labelled,
    fold: Fold,
    rows: Rows,
    parent: Parent | None,
    *,
    mode: str,
    seed: int,
    side: dict[str, Any],
    identity: dict[str, Any],
) -> Run:
    own: dict[str, Any] = {"corpus": corpus.name, "mode": mode, "seed": seed, "fold": fold.name, "side": side}
    return Run(
        **own,
        protocol=fold.protocol,
        **rows._asdict(),
        objective=corpus.objective,
        label_source=corpus.label_source,
        label_rule=corpus.label_rule,
        parent=parent.folder if parent is not None and mode in FROM_PARENT else None,
        key=content_key({**identity, **own, "rows": [part.tolist() for part in rows]}),
    )


def _identity(
    shards: Shards, params: Params, mode: str, parent: Parent | None, films: Shards | None = None
) -> dict[str, Any]:
    """Name what the results of a mode depend on besides rows and seed; what only chooses or shows runs is left out."""
    options = params.finetune
    choosing = {"modes", "seeds", "folds", "keep", "allow_pretrain_speakers", "final", "final_mode"}
    stated = {"transfer", "normalisation", "auxiliary", "self_training"}  # below, or by the side task
    identity: dict[str, Any] = {
        "shards": shards.fingerprint,
        "trainer": params.trainer.model_dump(mode="json"),
        "encoder": params.encoder.model_dump(mode="json"),
        "finetune": {**options.model_dump(mode="json", exclude=choosing | stated), "label_fraction": options.share},
        "normalisation": normalisation_of(mode, options),
        "code": code_fingerprint(),
        "packages": package_versions(),
    }
    if mode == STUDENT:
        identity |= {"self_training": options.self_training.model_dump(mode="json")}
        if options.self_training.face:
            identity["films"] = films.fingerprint if films is not None else None
    if mode in FROM_PARENT and parent is not None and parent.checkpoint is not None:
        identity |= {"parent": parent.checkpoint.fingerprint, "transfer": options.transfer}
    return identity
