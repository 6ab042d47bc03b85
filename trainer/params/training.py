"""Sections of ``params.yaml`` that one training follows: arithmetic, encoder, pretraining; baselines and report.

Sources: [paper] and [code] as named per field (Goncalves & Busso 2022 for the tasks; Lin & Busso 2020/2021
and their released code for chunking and encoders); [ours] where the sources are silent.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trainer.params.section import DISTINCT, UNIQUE, Count, Layers, Measure, Seconds, Section, Seed, Size

Baseline = Literal["majority", "svm-linear", "svm-rbf"]
FunctionalSet = Literal["egemaps", "compare", "features"]


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
    # names of trainer.models.aggregators.AGGREGATORS [code; lstm_attention ours]
    aggregator: Literal["mean", "gated", "rnn_attention", "lstm_attention", "self_attention"] = "gated"
    # hidden states of a speech model that lie side by side in the features (acoustics.speech_model.layer: all): a
    # weighted sum is learnt of them (Yang et al. 2021, SUPERB); 1: the features as they are
    layers: int = Field(default=1, ge=1, le=200)
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
    # updates of the weights instead of epochs: as many whole epochs as they take, so that a small share of the labels
    # is trained as long as a large one; null: epochs [ours]
    steps: Count | None = None
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


SIDE_BY_SIDE = 4  # segments of a speaker in a batch, where they are to be told apart [ours]
DenseGroup = Literal["energy", "motion", "aus"]


class PretrainParams(ScheduleParams):
    """Section ``pretrain``: tasks 1 energy variation, 2 facial activation, 3 emotion from action units.

    The rest is ours: what the teachers say on every frame (``dense``), an audio-only task (``reconstruct``) and a guard
    against collapse (``variance``), each a weight in the summed loss.
    """

    # any subset; all three in the paper; empty only together with dense or reconstruct
    tasks: tuple[int, ...] = ()
    task_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)  # of tasks 1, 2, 3 in the summed loss [ours]
    dense: Annotated[tuple[DenseGroup, ...], UNIQUE] = (
        "energy",
        "motion",
        "aus",
    )  # tracks followed on every frame [ours]
    dense_weight: float = Field(default=1.0, gt=0)  # of their summed loss [ours]
    dense_loss: Literal["smooth_l1", "ccc"] = "smooth_l1"  # smooth L1 in standard deviations, or 1 - CCC a track [ours]
    dense_centre: Literal["none", "speaker", "segment"] = "speaker"  # whose mean is subtracted from the tracks [ours]
    reconstruct: float = Field(default=0.0, ge=0)  # weight of giving back hidden spans of the features; 0 = off [ours]
    # weight of finding the own face by the voice, and the voice by the face, among those of the speaker; 0 = off [ours]
    matching: float = Field(default=0.0, ge=0)
    variance: float = Field(default=0.0, ge=0)  # weight of keeping each unit's deviation up and units apart [ours]
    max_class_weight: float = Field(
        default=5.0, ge=1
    )  # of a rare class in the loss of a task; even classes have 1 [ours]
    min_class: Count = 5  # training segments of a class below which its labels are left out [ours]
    # segments: every one once an epoch; speakers: as many, of every speaker equally many [ours]
    draw: Literal["segments", "speakers"] = "segments"
    corpora: Annotated[tuple[str, ...], UNIQUE] = ()  # whose films teach; empty: all of the unlabelled shards
    # whose statistics, as in section finetune, which should say the same, or parent [ours]
    normalisation: Literal["train", "speaker", "utterance"] = "train"
    # where films show labelled speakers: one pretraining a fold, without the speakers whom it tests [ours]
    per_fold: bool = True
    # negative controls: faces of other segments, or of another time of the same one [ours]
    faces: Literal["own", "exchanged", "shifted"] = "own"
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
        if not (self.tasks or self.dense or self.reconstruct or self.matching):
            raise ValueError("tasks must not be empty unless dense, reconstruct or matching is on")
        if self.matching and self.batch_size < SIDE_BY_SIDE:
            raise ValueError(f"matching tells segments of one batch apart: batch_size must be {SIDE_BY_SIDE} or more")
        if self.matching and self.faces == "shifted":
            raise ValueError("matching describes whole segments, which have no other time: use faces exchanged with it")
        if self.augment.mixup and (self.dense or self.reconstruct or self.matching):
            raise ValueError(
                "augment.mixup mixes utterances, whose tracks and faces cannot be mixed: use it with tasks alone"
            )
        return self

    @field_validator("task_weights")
    @classmethod
    def _positive_weights(cls, weights: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(weights) <= 0:
            raise ValueError("must be positive; leave a task out through 'tasks'")
        return weights


class BaselinesParams(Section):
    """Section ``baselines``: simple recognisers on the folds, seeds, target and label fraction of ``finetune``."""

    models: Annotated[tuple[Baseline, ...], DISTINCT] = ("majority", "svm-linear", "svm-rbf")
    # what each SVM hears: openSMILE functionals; features: mean and deviation over time of the shards' features
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
