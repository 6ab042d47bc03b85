"""Sections of ``params.yaml`` that one training follows: arithmetic, encoder, pretraining, fine-tuning.

Sources: [paper] and [code] as named per field (Goncalves & Busso 2022 for the tasks; Lin & Busso 2020/2021
and their released code for chunking and encoders); [ours] where the sources are silent.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trainer.params.section import DISTINCT, Count, Layers, Measure, Seconds, Section, Seed, Seeds, Size

Baseline = Literal["majority", "svm-linear", "svm-rbf"]
FunctionalSet = Literal["egemaps", "compare"]


class RuntimeParams(Section):
    """Section ``trainer``: what fixes the arithmetic. Part of every result's identity."""

    threads: int = Field(default=1, ge=1, le=1024)  # CPU threads of one training; fixed, as sums depend on it [ours]
    device: Literal["cpu", "cuda"] = "cpu"  # cpu and cuda give slightly different numbers [ours]


class EncoderParams(Section):
    """Section ``encoder``: chunking, chunk encoder and aggregation."""

    # speech of any length as dynamic chunks [paper], or as one window: pad (T_max, zero padded) or crop (crop_seconds)
    length: Literal["dynamic", "pad", "crop"] = "dynamic"
    crop_seconds: Seconds = 1.5  # s, length crop: the middle of the utterance [ours]
    chunk_seconds: Seconds = 1.0  # s, w_c [paper: Lin & Busso]
    max_seconds: Seconds | Literal["auto"] = "auto"  # s, T_max; auto: see data.chunking [paper, ours]
    chunks_per_second: int = Field(default=1, ge=1, le=3)  # n in nC chunks, n in {1, 2, 3} [paper]
    clip: float = Field(default=3.0, gt=0)  # standard deviations, after z-normalisation [code]
    chunk_encoder: Literal["cnn", "lstm", "mel_cnn"] = "cnn"  # names of trainer.models.encoders.CHUNK_ENCODERS
    # cnn and mel_cnn: channels per layer [ours; code 128..32, and 32..128 in mel_cnn]
    widths: tuple[Size, ...] = Field(default=(64, 64, 64), min_length=1, max_length=32)
    kernel: int = Field(default=5, ge=1, le=255)  # cnn: frames [ours]
    stride: int = Field(default=2, ge=1, le=64)  # cnn: frames per layer [ours]; mel_cnn: from its third layer on [code]
    lstm_layers: Layers = 2  # lstm [code]
    hidden: Size = 130  # size of a chunk vector and of the encoder's output [code]
    # names of trainer.models.aggregators.AGGREGATORS [code]
    aggregator: Literal["mean", "gated", "rnn_attention", "self_attention"] = "gated"
    dropout: float = Field(default=0.3, ge=0, lt=1)  # [ours; code .5 in the lstm]

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("must be odd, so that a frame stays in the middle of its window")
        return kernel


class AugmentParams(Section):
    """What is done to every training batch; see trainer.training.augment. All off: no random number is drawn for it."""

    noise: float = Field(default=0.0, ge=0, le=1000)  # standard deviation, of normalised features [ours]
    feature_mask: float = Field(default=0.0, ge=0, lt=1)  # share of neighbouring features hidden, at most [ours]
    time_mask: float = Field(default=0.0, ge=0, lt=1)  # share of a chunk's frames hidden, at most [ours]
    mixup: float = Field(default=0.0, ge=0, le=1000)  # a of Beta(a, a) from which shares are drawn; 0 = off [ours]

    @property
    def on(self) -> bool:
        """Whether anything is done."""
        return any(self.model_dump().values())


class ScheduleParams(Section):
    """How long and how fast a network is trained; shared by pretraining and fine-tuning."""

    epochs: Count = 40  # at most
    patience: Count = 10  # epochs without a better value on held-out speakers [ours]
    # what "better" means. score: the objective's own (UAR for classes, macro F1, CCC) and the correlation of dense
    # tracks, ties broken by the loss; last: all epochs, no choice [ours]
    monitor: Literal["loss", "score", "last"] = "score"
    batch_size: Count = 32  # utterances [ours; code 128 on 100 times the data]
    lr: float = Field(default=1e-3, gt=0, le=1000)  # AdamW [ours; code 1e-4 on 100 times the data]
    # one_cycle: up to lr over the first 30 % of all steps, then down to nothing (Smith 2018); with monitor last [ours]
    lr_schedule: Literal["constant", "one_cycle"] = "constant"
    weight_decay: float = Field(default=1e-3, ge=0, le=1000)  # AdamW [ours]
    gradient_clip: float = Field(default=5.0, gt=0)  # norm [ours]
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    head_hidden: int = Field(default=64, ge=0, le=4096)  # units of the head's hidden layer; 0 = a linear head [ours]
    augment: AugmentParams = AugmentParams()


DenseGroup = Literal["energy", "motion", "aus"]


class PretrainParams(ScheduleParams):
    """Section ``pretrain``: tasks 1 energy variation, 2 facial activation, 3 emotion from action units.

    The rest is ours: what the teachers say on every frame (``dense``), an audio-only task (``reconstruct``) and a guard
    against collapse (``variance``), each a weight in the summed loss.
    """

    # any subset; all three in the paper; empty only together with dense or reconstruct
    tasks: tuple[int, ...] = ()
    task_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)  # of tasks 1, 2, 3 in the summed loss [ours]
    dense: tuple[DenseGroup, ...] = ("energy", "motion", "aus")  # tracks followed on every frame [ours]
    dense_weight: float = Field(default=1.0, gt=0)  # of their summed loss [ours]
    dense_loss: Literal["smooth_l1", "ccc"] = "smooth_l1"  # smooth L1 in standard deviations, or 1 - CCC a track [ours]
    dense_centre: Literal["none", "speaker", "segment"] = "speaker"  # whose mean is subtracted from the tracks [ours]
    reconstruct: float = Field(default=0.0, ge=0)  # weight of giving back hidden spans of the features; 0 = off [ours]
    variance: float = Field(default=0.0, ge=0)  # weight of keeping each unit's deviation up and units apart [ours]
    epochs: Count = 30
    monitor: Literal["loss", "score", "last"] = "last"
    seed: Seed = 0
    dev_share: float = Field(default=0.15, gt=0, lt=1)  # of segments, whole speakers; only without a dev split [ours]
    unlabelled_fraction: float = Field(default=1.0, gt=0, le=1)  # of training segments; the dev speakers keep all
    unlabelled_by: Literal["clips", "speakers"] = "clips"  # drawn whole: clips of every speaker, or speakers [ours]

    @field_validator("tasks")
    @classmethod
    def _subset(cls, tasks: tuple[int, ...]) -> tuple[int, ...]:
        if not set(tasks) <= {1, 2, 3} or len(set(tasks)) != len(tasks):
            raise ValueError("must be a subset of [1, 2, 3] without repeats")
        return tuple(sorted(tasks))

    @model_validator(mode="after")
    def _something_to_learn(self) -> PretrainParams:
        if not (self.tasks or self.dense or self.reconstruct):
            raise ValueError("tasks must be a non-empty subset of [1, 2, 3] unless dense or reconstruct is on")
        if len(set(self.dense)) != len(self.dense):
            raise ValueError("dense must be without repeats")
        if self.augment.mixup and (self.dense or self.reconstruct):
            raise ValueError("augment.mixup mixes utterances, whose tracks cannot be mixed: use it with tasks alone")
        return self

    @field_validator("task_weights")
    @classmethod
    def _positive_weights(cls, weights: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(weights) <= 0:
            raise ValueError("must be positive; leave a task out through 'tasks'")
        return weights


Mode = Literal["scratch", "pretrained", "frozen"]


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


class FinetuneParams(ScheduleParams):
    """Section ``finetune``: the comparison on labelled speech, on the same folds and seeds for every mode.

    No speaker is spent on early stopping by default: with few speakers each one counts, and a learning rate that goes
    down to nothing over a fixed time needs no one to say when to stop (docs/baselines.md has the measurements).
    """

    # frozen: what was carried over does not learn [paper]
    modes: Annotated[tuple[Mode, ...], DISTINCT] = ("scratch", "pretrained")
    seeds: Seeds = (0, 1)
    # auto: fold column, else split column, else 5 by speaker; loso: one speaker a fold; a number: so many by speaker;
    # corpus: each corpus tested by a network of all others, over the classes they share
    folds: int | Literal["auto", "fold", "split", "loso", "corpus"] = "auto"
    # early stopping on training speakers, or on the fold before the test; none: all train, with monitor last [ours]
    dev: Literal["speakers", "fold", "none"] = "none"
    # names of trainer.objectives.OBJECTIVES
    objective: Literal["hard", "soft", "multilabel", "attribute"] = "hard"
    target: str = "emotion"  # label column; "votes" for soft and multilabel; attributes joined by "+"
    vote_threshold: float | Literal["auto"] = "auto"  # multilabel: share of votes that makes a class true; 1/K [ours]
    dev_share: float = Field(default=0.2, gt=0, lt=1)  # of training rows, whole speakers, for early stopping [ours]
    label_fraction: float = Field(default=1.0, gt=0, le=1)  # of the training labels, drawn per class; dev keeps all
    transfer: Literal["all", "chunk", "conv"] = "conv"  # chunk: the chunk encoder; conv: its frame layers alone [ours]
    # whose statistics: train = training part of the corpus, parent = of pretraining (scratch: train), speaker = own
    normalisation: Literal["train", "parent", "speaker"] = "train"
    allow_pretrain_speakers: bool = False  # in a test fold; printed with every result
    penalty: PenaltyParams = PenaltyParams()
    auxiliary: AuxiliaryParams = AuxiliaryParams()
    monitor: Literal["loss", "score", "last"] = "last"
    lr: float = Field(default=2e-3, gt=0, le=1000)  # AdamW, at its highest [ours]
    lr_schedule: Literal["constant", "one_cycle"] = "one_cycle"
    augment: AugmentParams = AugmentParams(mixup=0.4)
    keep: Literal["all", "best", "none"] = "best"  # model folders; best per corpus and mode, by held-out speakers

    final: bool = True  # train one more on all labelled rows, to be used (models/final)
    final_mode: Mode | Literal["auto"] = "auto"  # of modes; auto: pretrained where it is one of them, else the first

    @model_validator(mode="after")
    def _consistent(self) -> FinetuneParams:
        if self.final_mode != "auto" and self.final_mode not in self.modes:
            raise ValueError(f"final_mode {self.final_mode} is none of the modes {', '.join(self.modes)}")
        if isinstance(self.folds, int) and self.folds < 2:
            raise ValueError("folds must be at least 2")
        if not isinstance(self.vote_threshold, str) and not 0 <= self.vote_threshold < 1:
            raise ValueError("vote_threshold must be a share from 0 to below 1, or 'auto'")
        ours = self.objective in ("hard", "soft", "multilabel", "attribute")  # one that a user adds checks itself
        if ours and (self.objective in ("soft", "multilabel")) != (self.target == "votes"):
            raise ValueError("soft and multilabel go with target 'votes', hard and attribute with the name of a column")
        if self.dev == "none" and self.monitor != "last":
            raise ValueError("dev none leaves nobody to stop early on: monitor must be last, or dev speakers or fold")
        if ours and self.label_smoothing and self.objective != "hard":
            raise ValueError(f"label_smoothing belongs to objective hard, not {self.objective}")
        if self.penalty.form != "none" and self.objective == "attribute":
            raise ValueError("penalty is about classes: it goes with objective hard, soft or multilabel")
        return self

    def goes_on(self, mode: str) -> bool:
        """Say whether a mode trains the pretext tasks on: scratch has none, what is frozen cannot learn from them."""
        return mode == "pretrained" and self.auxiliary.weight > 0


class BaselinesParams(Section):
    """Section ``baselines``: simple recognisers on the folds, seeds, target and label fraction of ``finetune``."""

    models: Annotated[tuple[Baseline, ...], DISTINCT] = ("majority", "svm-linear", "svm-rbf")
    # openSMILE functionals that each SVM hears
    features: Annotated[tuple[FunctionalSet, ...], DISTINCT] = ("egemaps", "compare")
    rows: Literal["all", "network"] = "all"  # all training rows, or without the network's early-stopping speakers
    c: float = Field(default=1.0, gt=0)  # of both SVMs; the linear one's is divided by the number of features [ours]
    normalisation: Literal["train", "speaker"] = "train"  # training statistics; speaker: everyone's own, test too


class ReportParams(Section):
    """Section ``report``."""

    measure: Measure = "uar"  # of the bar chart and the printed intervals; else the objective's own score
    alpha: float = Field(default=0.05, gt=0, lt=1)  # significance level named in the paired test
    confidence: float = Field(default=0.95, gt=0, lt=1)  # of the intervals
    resamples: int = Field(default=2000, ge=100, le=1_000_000)  # of the bootstrap over speakers [ours]
    subsets: int = Field(
        default=30, ge=2, le=1_000_000
    )  # random parts of the pooled test set, for the papers' test [ours]
    seed: Seed = 0  # of resamples and subsets
    summary: str = "reports/pipeline.json"  # what the pipeline counted, shown on the page if it is there
