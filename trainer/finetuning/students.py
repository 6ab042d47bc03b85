"""Self-training: teachers label the training speakers' speech that has no label, and a student learns from all of it.

Teachers are networks that were trained on the labels alone, with different initial weights; where films show the
training speakers, a classifier of the face may join them (`trainer.finetuning.face_teacher`). What they answer are soft
labels. Nobody who is tested, and nobody who is held out for early stopping, is labelled or seen [ours].
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.data.arrays import IntArray
from trainer.data.rows import MISSING, Target
from trainer.data.shards import Shards
from trainer.errors import InputError, Notice
from trainer.finetuning.face_teacher import answer_of_faces, shown_clips
from trainer.models.checkpoint import load_model
from trainer.objectives import Objective
from trainer.objectives.losses import SoftCrossEntropy, balanced_weights
from trainer.params import SelfTrainingParams
from trainer.store import replace_folder, seal, write_json
from trainer.training.loop import run_network

if TYPE_CHECKING:
    from trainer.finetuning.plan import Run

STUDENT, ENSEMBLE = "student", "ensemble"
WITH_TEACHERS = (STUDENT, ENSEMBLE)  # modes that wait for their teachers
STEP = 10_000  # between the seeds of teachers

Shares = npt.NDArray[np.float32]  # (N, K) probabilities, NaN where a teacher has none


def rest_of(speech: IntArray, train: IntArray, *, share: float, rng: np.random.Generator, where: str) -> IntArray:
    """Return the training speakers' rows that have no label, or one that this run does not use.

    Args:
        speech: all rows of the training speakers.
        train: rows whose labels are used.
        share: of the rows that are found, drawn by ``rng``.
        rng: see ``share``.
        where: corpus and fold, for the message.

    Raises:
        InputError: there are none.
    """
    found = np.setdiff1d(speech, train)
    found = np.sort(rng.permutation(found)[: round(share * len(found))])
    if not len(found):
        raise InputError(
            f"{where}: all speech of the training speakers has a label, so that there is nothing to teach a student "
            "with: lower finetune.label_fraction, or add utterances without a label"
        )
    return found


def teacher_seeds(seed: int, count: int) -> list[int]:
    """Seeds of the teachers of a run; the first is the run's own, so that the scratch run of the table is one of them.

    >>> teacher_seeds(3, 3)
    [3, 10003, 20003]
    """
    return [(seed + STEP * number) % 2**63 for number in range(count)]


@dataclass(frozen=True)
class StudentData:
    """What a student learns from: M rows and their targets (M, K), labels first, then what the teachers say."""

    rows: IntArray
    targets: npt.NDArray[np.float32]
    loss: SoftCrossEntropy
    about: dict[str, Any]  # how right the teachers were, where the labels that were not used are known


def student_data(
    shards: Shards,
    films: Shards | None,
    run: Run,
    objective: Objective,
    labels: Target,
    *,
    finished: Path,
    options: SelfTrainingParams,
    device: str,
) -> StudentData:
    """Ask the teachers of a run.

    Args:
        shards: labelled.
        films: unlabelled, for the face; None: nobody looks.
        run: the student's.
        objective: whose classes.
        labels: (N,) class indices of all rows of the shards, `MISSING` where there is none.
        finished: folder of finished runs, the teachers' among them.
        options: who teaches.
        device: where the teachers answer.

    Raises:
        InputError: the face alone is to teach, and no films are given or they do not show it.
    """
    looks = options.face > 0 and films is not None and bool(shown_clips(shards, films))
    if options.face and not looks:
        message = "no film shows a labelled utterance (finetune.self_training.face)"
        if not options.teachers:
            raise InputError(f"{message}, and no networks teach: set self_training.teachers, or add films of them")
        warnings.warn(f"{message}: networks alone teach", Notice, stacklevel=2)
    size = len(objective.names)
    networks = _answers_of_networks(shards, run, objective, finished=finished, device=device)
    answers: list[tuple[float, Shares]] = [(1.0, answer) for answer in networks]
    about: dict[str, Any] = {}
    truth, trust = labels[run.rest], 1.0
    if films is not None and looks:
        face, skill = answer_of_faces(
            shards, films, run.train, labels[run.train], run.rest, size=size, faces=options.faces, seed=run.seed
        )
        # a face that knows nothing says nothing; one that knows a little makes all that is labelled weigh a little less
        answers += [(options.face * skill, face)] if skill else []
        trust = (len(networks) + options.face * skill) / (len(networks) + options.face)
        about |= {"face_skill": skill, "face_covers": float(np.isfinite(face[:, 0]).mean())}
        about |= _right("face", objective, truth, face)
    soft = mix(answers) if answers else np.full((len(truth), size), np.nan, dtype=np.float32)
    labelled = np.isfinite(soft[:, 0])
    about |= {"n_soft_labels": int(labelled.sum()), **_right("teachers", objective, truth, soft)}
    own = labels[run.train]
    # a row's targets add up to its weight: rows without a label, of which there are more, may weigh less
    targets = np.concatenate([np.eye(size, dtype=np.float32)[own], options.weight * trust * soft[labelled]])
    loss = SoftCrossEntropy(balanced_weights(own, size))
    return StudentData(np.concatenate([run.train, run.rest[labelled]]), targets.astype(np.float32), loss, about)


def mix(answers: Sequence[tuple[float, Shares]]) -> Shares:
    """Return the weighted mean (N, K) of the answers that a row has; NaN where it has none.

    >>> one, two = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.5, 0.5], [np.nan, np.nan]])
    >>> mix([(1.0, one), (3.0, two)]).tolist()
    [[0.625, 0.375], [0.5, 0.5]]
    """
    weights = np.array([weight for weight, _ in answers])[:, None, None]
    stacked = np.stack([answer for _, answer in answers])
    has = np.isfinite(stacked)
    total = np.where(has, weights * np.where(has, stacked, 0.0), 0.0).sum(axis=0)
    count = np.where(has, weights, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1e-12), np.nan).astype(np.float32)


def _answers_of_networks(
    shards: Shards, run: Run, objective: Objective, *, finished: Path, device: str
) -> list[Shares]:
    answers = []
    for teacher in run.teachers:
        model = load_model(finished / teacher.key)
        (name,) = model.spec.heads
        data = model.spec.dataset(shards, run.rest)
        outputs = run_network(model.network.to(device), data, batch_size=256, device=device)
        answers.append(objective.predict(outputs.logits[name]))
    return answers


def _right(who: str, objective: Objective, truth: Target, soft: Shares) -> dict[str, float]:
    """UAR of answers where the labels that this run does not use are known."""
    known = np.isfinite(soft[:, 0]) & (truth != MISSING)
    if not known.any():
        return {}
    return {f"{who}_uar": objective.measure(truth[known], soft[known].astype(np.float64))["uar"]}


def store_ensemble(run: Run, shards: Shards, target: str, *, finished: Path) -> None:
    """Store the mean of the teachers' answers as a run without weights of its own."""
    answers = [np.load(finished / teacher.key / "predictions.npy", allow_pickle=False) for teacher in run.teachers]
    predicted = np.mean(answers, axis=0, dtype=np.float64).astype(np.float32)
    truth = run.objective.encode(shards.rows.iloc[run.test], target)
    metrics = {
        **run.identity,
        "classes": list(run.objective.names),
        "n_train": len(run.train),
        "n_dev": len(run.dev),
        "n_test": len(run.test),
        **run.objective.measure(truth, predicted.astype(np.float64)),
        "dev_score": None,
        "best_epoch": None,
        "epochs": 0,
        "updates": 0,
        "self_training": f"{len(run.teachers)} networks",
    }

    def fill(folder: Path) -> None:
        write_json(folder / "metrics.json", metrics)
        (folder / "history.csv").write_text("epoch,train_loss,dev_loss,dev_score\n", encoding="utf-8")
        np.save(folder / "predictions.npy", predicted)
        seal(folder)

    replace_folder(finished / run.key, fill)
