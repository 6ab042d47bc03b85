"""Section ``finetune`` of ``params.yaml``: the comparison on labelled speech.

Sources: [paper] and [code] as named per field; [ours] where the sources are silent.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainer.params.section import DISTINCT, Section, Seeds
from trainer.params.training import AugmentParams, ScheduleParams

Mode = Literal["scratch", "pretrained", "frozen", "student", "ensemble"]
FROM_PARENT = frozenset({"pretrained", "frozen"})  # modes that start from a pretrained model


class PenaltyParams(Section):
    """Section ``finetune.penalty``: beta * loss + alpha * penalty by co-occurring emotions (objectives/penalty.py)."""

    form: Literal["none", "printed", "pairwise"] = "none"  # printed [paper]; pairwise [ours]; both need votes
    alpha: float = Field(default=1.0, gt=0)  # weight of the penalty; .5 or 1 [paper]
    beta: float = Field(default=1.0, ge=0)  # weight of the objective's own loss; 0 or 1 [paper]

    def __str__(self) -> str:
        """As in a row of results."""
        return "none" if self.form == "none" else f"{self.form}, alpha {self.alpha:g}, beta {self.beta:g}"


class AuxiliaryParams(Section):
    """Section ``finetune.auxiliary``: tasks of pretraining go on beside the target (finetuning/auxiliary.py)."""

    weight: float = Field(default=0.0, ge=0)  # of the pretext loss; 0: off. Mode pretrained alone [ours]
    share: float = Field(default=1.0, gt=0, le=1000)  # rows of film an epoch for every labelled training row [ours]

    def __str__(self) -> str:
        """As in a row of results."""
        return f"weight {self.weight:g}, share {self.share:g}" if self.weight else "none"


class SelfTrainingParams(Section):
    """Section ``finetune.self_training``: modes student and ensemble (finetuning/students.py)."""

    teachers: int = Field(default=3, ge=0, le=100)  # networks trained on the labels alone; each weighs 1 [ours]
    share: float = Field(default=1.0, gt=0, le=1)  # of the training speakers' speech without a label [ours]
    weight: float = Field(default=1.0, gt=0, le=1000)  # of an utterance that teachers labelled; a labelled one has 1
    # weight of a classifier of the face, times its skill on labelled faces that it was not trained on; 0: off [ours]
    face: float = Field(default=10.0, ge=0, le=1000)
    faces: Literal["own", "exchanged"] = "own"  # exchanged: of other utterances, as a negative control [ours]

    @model_validator(mode="after")
    def _somebody_teaches(self) -> SelfTrainingParams:
        if not (self.teachers or self.face):
            raise ValueError("somebody must teach: teachers or face must be above 0")
        return self

    def __str__(self) -> str:
        """As in a row of results."""
        networks = [f"{self.teachers} networks"] if self.teachers else []
        face = [f"{'exchanged ' if self.faces == 'exchanged' else ''}face {self.face:g}"] if self.face else []
        return ", ".join([*networks, *face])


class FinetuneParams(ScheduleParams):
    """Section ``finetune``: the comparison on labelled speech, on the same folds and seeds for every mode.

    No speaker is spent on early stopping by default: with few speakers each one counts, and a learning rate that goes
    down to nothing over a fixed time needs no one to say when to stop (docs/baselines.md has the measurements).
    """

    # frozen: what was carried over does not learn [paper]; student, ensemble: see self_training
    # auto: scratch, pretrained, and student where films show labelled speakers some of whose labels are not used
    modes: Annotated[tuple[Mode, ...], DISTINCT] | Literal["auto"] = "auto"
    seeds: Seeds = (0, 1)
    # auto: fold column, else split column, else 5 by speaker; loso: one speaker a fold; a number: so many by speaker;
    # corpus: each corpus tested by a network of all others, over the classes they share
    folds: int | Literal["auto", "fold", "split", "loso", "corpus"] = "auto"
    # early stopping on training speakers, or on the fold before the test; none: all train, with monitor last [ours]
    dev: Literal["speakers", "fold", "none"] = "none"
    # names of trainer.objectives.OBJECTIVES
    objective: Literal["hard", "soft", "multilabel", "attribute"] = "hard"
    target: str = "emotion"  # label column; "votes" for soft and multilabel; attributes joined by "+"
    # class -> labels that are it, e.g. happiness: [happiness, excitement]; other labels are none. Empty: as they are
    classes: dict[str, tuple[str, ...]] = Field(default={})
    joint: bool = False  # train on the rows of all corpora that have one of the tested corpus' classes [ours]
    vote_threshold: float | Literal["auto"] = "auto"  # multilabel: share of votes that makes a class true; 1/K [ours]
    dev_share: float = Field(default=0.2, gt=0, lt=1)  # of training rows, whole speakers, for early stopping [ours]
    # of the training labels, drawn per class; dev keeps all. auto: all, and an eighth of a generated corpus [ours]
    label_fraction: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = "auto"
    transfer: Literal["all", "chunk", "conv"] = "conv"  # chunk: the chunk encoder; conv: its frame layers alone [ours]
    # whose statistics: train = training part of the corpus, parent = as in pretraining (scratch: train), speaker = all
    # of each speaker's rows, utterance = each row's own
    normalisation: Literal["train", "parent", "speaker", "utterance"] = "train"
    allow_pretrain_speakers: bool = False  # in a test fold; printed with every result
    class_weights: Literal["balanced", "none"] = "balanced"  # objective hard: N / (K n_c) [ours]; none: all 1
    penalty: PenaltyParams = PenaltyParams()
    auxiliary: AuxiliaryParams = AuxiliaryParams()
    self_training: SelfTrainingParams = SelfTrainingParams()
    monitor: Literal["loss", "score", "last"] = "last"
    lr: float = Field(default=2e-3, gt=0, le=1000)  # AdamW, at its highest [ours]
    lr_schedule: Literal["constant", "one_cycle"] = "one_cycle"
    augment: AugmentParams = AugmentParams(mixup=0.4)
    keep: Literal["all", "best", "none"] = "best"  # model folders; best per corpus and mode, by held-out speakers

    final: bool = True  # train one more on all labelled rows, to be used (models/final)
    # of modes; auto: pretrained where it is one of them, unless it is worse in the folds (then scratch); else the first
    final_mode: Mode | Literal["auto"] = "auto"

    @model_validator(mode="after")
    def _consistent(self) -> FinetuneParams:
        if self.final_mode != "auto" and self.modes != "auto" and self.final_mode not in self.modes:
            raise ValueError(f"final_mode {self.final_mode} is none of the modes {', '.join(self.modes)}")
        labels = [label for one in self.classes.values() for label in one]
        if len(set(labels)) < len(labels) or not all(self.classes.values()):
            raise ValueError("classes: every class needs a label, and a label belongs to one class")
        if self.classes and (len(self.classes) < 2 or self.objective == "attribute"):
            raise ValueError("classes: at least two, and none with objective attribute")
        if self.joint and (self.folds == "corpus" or self.objective != "hard"):
            raise ValueError("joint goes with objective hard, and with folds of the tested corpus, not 'corpus'")
        if isinstance(self.folds, int) and self.folds < 2:
            raise ValueError("folds must be at least 2")
        if not isinstance(self.vote_threshold, str) and not 0 <= self.vote_threshold < 1:
            raise ValueError("vote_threshold must be a share from 0 to below 1, or 'auto'")
        ours = self.objective in ("hard", "soft", "multilabel", "attribute")  # one that a user adds checks itself
        if ours and (self.objective in ("soft", "multilabel")) != (self.target == "votes"):
            raise ValueError("soft and multilabel go with target 'votes', hard and attribute with the name of a column")
        if self.dev == "none" and self.monitor != "last":
            raise ValueError("dev none leaves nobody to stop early on: monitor must be last, or dev speakers or fold")
        if ours and self.label_smoothing and self.objective not in ("hard", "soft"):
            raise ValueError(f"label_smoothing belongs to objective hard or soft, not {self.objective}")
        if ours and self.class_weights == "none" and self.objective != "hard":
            raise ValueError(f"class_weights belong to objective hard, not {self.objective}, which has none")
        with_teachers = [mode for mode in self.chosen if mode in ("student", "ensemble")]
        if with_teachers and self.objective != "hard":
            raise ValueError(f"modes {', '.join(with_teachers)} go with objective hard, not {self.objective}")
        if "student" in with_teachers and (self.penalty.form != "none" or self.label_smoothing):
            raise ValueError("mode student learns from soft labels: without penalty and label_smoothing")
        if "ensemble" in with_teachers and not self.self_training.teachers:
            raise ValueError("mode ensemble is the mean of self_training.teachers, which are 0")
        if self.final_mode == "ensemble":
            raise ValueError("final_mode ensemble is no single network: name another mode")
        if self.penalty.form != "none" and self.objective == "attribute":
            raise ValueError("penalty is about classes: it goes with objective hard, soft or multilabel")
        return self

    @property
    def chosen(self) -> tuple[Mode, ...]:
        """The modes; where the data must decide (`trainer.finetuning.decide`) those that need no decision."""
        return ("scratch", "pretrained") if self.modes == "auto" else self.modes

    @property
    def scope(self) -> Literal["train", "speaker", "utterance"]:
        """Whose statistics normalise the features where no parent's do."""
        return "train" if self.normalisation == "parent" else self.normalisation

    @property
    def share(self) -> float:
        """The share of the labels; where the data must decide all of them."""
        return 1.0 if self.label_fraction == "auto" else self.label_fraction

    @property
    def needs_parent(self) -> bool:
        """Whether any mode starts from a pretrained model."""
        return not FROM_PARENT.isdisjoint(self.chosen)

    @property
    def needs_films(self) -> bool:
        """Whether any mode looks at the unlabelled shards."""
        return any(map(self.goes_on, self.chosen)) or ("student" in self.chosen and self.self_training.face > 0)

    def goes_on(self, mode: str) -> bool:
        """Say whether a mode trains the pretext tasks on: scratch has none, what is frozen cannot learn from them."""
        return mode == "pretrained" and self.auxiliary.weight > 0
