"""The trainer's sections of ``params.yaml``: every number, its unit, its source.

Sources: [paper] and [code] as named per field (Goncalves & Busso 2022 for the tasks; Lin & Busso 2020/2021
and their released code for chunking and encoders); [ours] where the sources are silent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from trainer.errors import InputError

PIPELINE_SECTIONS = frozenset(
    {"sets", "run", "synthetic", "segments", "split", "audio", "acoustics", "functionals", "faces", "labels", "shards"}
)


class Section(BaseModel):
    """A frozen, strict section: an unknown key is refused, so that a typo never means "the default"."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class RuntimeParams(Section):
    """Section ``trainer``: what fixes the arithmetic. Part of every result's identity."""

    threads: int = Field(default=1, ge=1)  # CPU threads of one training; fixed, as sums depend on it [ours]
    device: Literal["cpu", "cuda"] = "cpu"  # cpu and cuda give slightly different numbers [ours]


class EncoderParams(Section):
    """Section ``encoder``: chunking, chunk encoder and aggregation."""

    # speech of any length as dynamic chunks [paper], or as one window: pad (T_max, zero padded) or crop (crop_seconds)
    length: Literal["dynamic", "pad", "crop"] = "dynamic"
    crop_seconds: float = Field(default=1.5, gt=0)  # s, length crop: the middle of the utterance [ours]
    chunk_seconds: float = Field(default=1.0, gt=0)  # s, w_c [paper: Lin & Busso]
    max_seconds: float | Literal["auto"] = "auto"  # s, T_max; auto = longest training segment [paper]
    chunks_per_second: int = Field(default=1, ge=1, le=3)  # n in nC chunks, n in {1, 2, 3} [paper]
    clip: float = Field(default=3.0, gt=0)  # standard deviations, after z-normalisation [code]
    chunk_encoder: str = "cnn"  # cnn, lstm or mel_cnn
    # cnn and mel_cnn: channels per layer [ours; code 128..32, and 32..128 in mel_cnn]
    widths: tuple[int, ...] = Field(default=(64, 64, 64), min_length=1)
    kernel: int = Field(default=5, ge=1)  # cnn: frames [ours]
    stride: int = Field(default=2, ge=1)  # cnn: frames per layer [ours]; mel_cnn: from its third layer on [code]
    lstm_layers: int = Field(default=2, ge=1)  # lstm [code]
    hidden: int = Field(default=130, ge=1)  # size of a chunk vector and of the encoder's output [code]
    aggregator: str = "gated"  # mean, gated, rnn_attention or self_attention [code]
    dropout: float = Field(default=0.3, ge=0, lt=1)  # [ours; code .5 in the lstm]

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("must be odd, so that a frame stays in the middle of its window")
        return kernel

    @field_validator("max_seconds")
    @classmethod
    def _positive(cls, seconds: float | str) -> float | str:
        if not isinstance(seconds, str) and seconds <= 0:
            raise ValueError("must be greater than 0 or 'auto'")
        return seconds


class AugmentParams(Section):
    """What is done to every training batch; see trainer.augment. All off: no random number is drawn for it."""

    noise: float = Field(default=0.0, ge=0)  # standard deviation, of normalised features [ours]
    feature_mask: float = Field(default=0.0, ge=0, lt=1)  # share of neighbouring features hidden, at most [ours]
    time_mask: float = Field(default=0.0, ge=0, lt=1)  # share of a chunk's frames hidden, at most [ours]
    mixup: float = Field(default=0.0, ge=0)  # a of Beta(a, a) from which shares are drawn; 0 = off [ours]

    @property
    def on(self) -> bool:
        """Whether anything is done."""
        return any(self.model_dump().values())


class ScheduleParams(Section):
    """How long and how fast a network is trained; shared by pretraining and fine-tuning."""

    epochs: int = Field(default=40, ge=1)  # at most
    patience: int = Field(default=10, ge=1)  # epochs without a better value on held-out speakers [ours]
    # what "better" means. score: the objective's own (UAR for classes, macro F1, CCC) and the correlation of dense
    # tracks, ties broken by the loss; last: all epochs, no choice [ours]
    monitor: Literal["loss", "score", "last"] = "score"
    batch_size: int = Field(default=32, ge=1)  # utterances [ours; code 128 on 100 times the data]
    lr: float = Field(default=1e-3, gt=0)  # AdamW [ours; code 1e-4 on 100 times the data]
    # one_cycle: up to lr over the first 30 % of all steps, then down to nothing (Smith 2018); with monitor last [ours]
    lr_schedule: Literal["constant", "one_cycle"] = "constant"
    weight_decay: float = Field(default=1e-3, ge=0)  # AdamW [ours]
    gradient_clip: float = Field(default=5.0, gt=0)  # norm [ours]
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    head_hidden: int = Field(default=64, ge=0)  # units of the head's hidden layer; 0 = a linear head [ours]
    augment: AugmentParams = AugmentParams()


DenseGroup = Literal["energy", "motion", "aus"]


class PretrainParams(ScheduleParams):
    """Section ``pretrain``: tasks 1 energy variation, 2 facial activation, 3 emotion from action units.

    The rest is ours: what the teachers say on every frame (``dense``), an audio-only task (``reconstruct``) and a guard
    against collapse (``variance``), each a weight in the summed loss.
    """

    tasks: tuple[int, ...] = (1, 2, 3)  # any subset [paper]; empty only beside dense or reconstruct
    task_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)  # of tasks 1, 2, 3 in the summed loss [ours]
    dense: tuple[DenseGroup, ...] = ()  # energy, motion, aus: tracks followed on every frame [ours]
    dense_weight: float = Field(default=1.0, gt=0)  # of their summed loss [ours]
    dense_loss: Literal["smooth_l1", "ccc"] = "smooth_l1"  # smooth L1 in standard deviations, or 1 - CCC a track [ours]
    dense_centre: Literal["none", "speaker", "segment"] = "speaker"  # whose mean is subtracted from the tracks [ours]
    reconstruct: float = Field(default=0.0, ge=0)  # weight of giving back hidden spans of the features; 0 = off [ours]
    variance: float = Field(default=0.0, ge=0)  # weight of keeping each unit's deviation up and units apart [ours]
    seed: int = Field(default=0, ge=0)
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
    """Section ``finetune.penalty``: beta * loss + alpha * penalty by co-occurring emotions; see trainer.penalty."""

    form: Literal["none", "printed", "pairwise"] = "none"  # printed [paper]; pairwise [ours]; both need votes
    alpha: float = Field(default=1.0, gt=0)  # weight of the penalty; .5 or 1 [paper]
    beta: float = Field(default=1.0, ge=0)  # weight of the objective's own loss; 0 or 1 [paper]

    def __str__(self) -> str:
        """As in a row of results."""
        return "none" if self.form == "none" else f"{self.form}, alpha {self.alpha:g}, beta {self.beta:g}"


class AuxiliaryParams(Section):
    """Section ``finetune.auxiliary``: tasks of pretraining go on beside the target; see trainer.auxiliary."""

    weight: float = Field(default=0.0, ge=0)  # of the pretext loss; 0: off. Mode pretrained alone [ours]
    share: float = Field(default=1.0, gt=0)  # rows of film an epoch for every labelled training row [ours]

    def __str__(self) -> str:
        """As in a row of results."""
        return f"weight {self.weight:g}, share {self.share:g}" if self.weight else "none"


class FinetuneParams(ScheduleParams):
    """Section ``finetune``: the comparison on labelled speech, on the same folds and seeds for every mode.

    No speaker is spent on early stopping by default: with few speakers each one counts, and a learning rate that goes
    down to nothing over a fixed time needs no one to say when to stop (docs/baselines.md has the measurements).
    """

    modes: tuple[Mode, ...] = ("scratch", "pretrained")  # frozen: what was carried over does not learn [paper]
    seeds: tuple[int, ...] = (0, 1)
    # auto: fold column, else split column, else 5 by speaker; loso: one speaker a fold; a number: so many by speaker
    folds: int | Literal["auto", "fold", "split", "loso"] = "auto"
    # early stopping on training speakers, or on the fold before the test; none: all train, with monitor last [ours]
    dev: Literal["speakers", "fold", "none"] = "none"
    objective: str = "hard"  # hard, soft, multilabel, attribute, or one of your own; see trainer.objectives
    target: str = "emotion"  # label column; "votes" for soft and multilabel; attributes joined by "+"
    vote_threshold: float | Literal["auto"] = "auto"  # multilabel: share of votes that makes a class true; 1/K [ours]
    dev_share: float = Field(default=0.2, gt=0, lt=1)  # of training rows, whole speakers, for early stopping [ours]
    label_fraction: float = Field(default=1.0, gt=0, le=1)  # of the training labels, drawn per class; dev keeps all
    transfer: Literal["all", "chunk", "conv"] = "all"  # chunk: the chunk encoder; conv: its frame layers alone [ours]
    # whose statistics: train = training part of the corpus, parent = of pretraining (scratch: train), speaker = own
    normalisation: Literal["train", "parent", "speaker"] = "train"
    allow_pretrain_speakers: bool = False  # in a test fold; printed with every result
    penalty: PenaltyParams = PenaltyParams()
    auxiliary: AuxiliaryParams = AuxiliaryParams()
    monitor: Literal["loss", "score", "last"] = "last"
    lr: float = Field(default=2e-3, gt=0)  # AdamW, at its highest [ours]
    lr_schedule: Literal["constant", "one_cycle"] = "one_cycle"
    augment: AugmentParams = AugmentParams(mixup=0.4)
    keep: Literal["all", "best", "none"] = "best"  # model folders; best per corpus and mode, by held-out speakers

    @model_validator(mode="after")
    def _distinct(self) -> FinetuneParams:
        for name in ("modes", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} must be non-empty and without repeats")
        if isinstance(self.folds, int) and self.folds < 2:
            raise ValueError("folds must be at least 2")
        if not isinstance(self.vote_threshold, str) and not 0 <= self.vote_threshold < 1:
            raise ValueError("vote_threshold must be a share from 0 to below 1, or 'auto'")
        ours = self.objective in ("hard", "soft", "multilabel", "attribute")  # others look after themselves
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


ClusterMode = Literal["scratch", "clustered", "clustered_both"]


class ClusterParams(Section):
    """Section ``cluster``: DeepEmoCluster, beside the folds, seeds, target and schedule of ``finetune``."""

    # scratch: supervised alone; clustered: clusters of the labelled rows; clustered_both: of both sets
    modes: tuple[ClusterMode, ...] = ("scratch", "clustered", "clustered_both")
    k: int = Field(default=10, ge=2)  # clusters [code: 10 for arousal, 30 for dominance and valence]
    iterations: int = Field(default=20, ge=1)  # of K-means, every epoch [code]
    weight: float = Field(default=1.0, gt=0)  # of the clusters' cross-entropy beside the objective's loss of 1 [code]
    # which rows are drawn evenly over clusters: those of stage 1, or the labelled ones of stage 2 too [ours]
    uniform: Literal["unlabelled", "all"] = "unlabelled"

    @model_validator(mode="after")
    def _distinct(self) -> ClusterParams:
        if not self.modes or len(set(self.modes)) != len(self.modes):
            raise ValueError("modes must be non-empty and without repeats")
        return self

    def __str__(self) -> str:
        """As in a row of results."""
        return f"k {self.k}, {self.iterations} iterations, weight {self.weight:g}, uniform {self.uniform}"


Baseline = Literal["majority", "svm-linear", "svm-rbf"]
FunctionalSet = Literal["egemaps", "compare"]


class BaselinesParams(Section):
    """Section ``baselines``: simple recognisers on the folds, seeds, target and label fraction of ``finetune``."""

    models: tuple[Baseline, ...] = ("majority", "svm-linear", "svm-rbf")
    features: tuple[FunctionalSet, ...] = ("egemaps", "compare")  # openSMILE functionals that each SVM hears
    rows: Literal["all", "network"] = "all"  # all training rows, or without the network's early-stopping speakers
    c: float = Field(default=1.0, gt=0)  # of both SVMs; the linear one's is divided by the number of features [ours]
    normalisation: Literal["train", "speaker"] = "train"  # training statistics; speaker: everyone's own, test too

    @model_validator(mode="after")
    def _distinct(self) -> BaselinesParams:
        for name in ("models", "features"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} must be non-empty and without repeats")
        return self


Secondary = Literal["viseme", "emotion"]


class OrofacialParams(ScheduleParams):
    """Section ``orofacial``: speech-driven mouth movement (Sadoughi & Busso 2018), alone and with secondary tasks."""

    corpora: tuple[str, ...] = ()  # which corpora of the shards; empty: all
    structures: tuple[Literal["shared", "branches"], ...] = ("shared", "branches")  # both [paper]
    tasks: tuple[tuple[Secondary, ...], ...] = ((), ("viseme",), ("viseme", "emotion"))  # beside movement [paper]
    seeds: tuple[int, ...] = (0, 1, 2)  # each draws its held-out sentences and first weights
    loss: Literal["ccc", "mse", "smooth_l1"] = "ccc"  # of movement: 1 - CCC a coordinate, or a distance [ours]
    viseme_weight: float = Field(default=0.3, gt=0)  # of its cross-entropy beside the movement's loss [ours]
    emotion_weight: float = Field(default=0.1, gt=0)  # of its cross-entropy beside the movement's loss [ours]
    emotion: Literal["t3_label", "emotion"] = "t3_label"  # pseudo-label or the manifest's label
    centre: Literal["none", "speaker", "segment"] = "speaker"  # whose mean position is subtracted [ours]
    test_share: float = Field(default=0.2, gt=0, lt=1)  # of a training speaker's clips, held out for testing [ours]
    dev_share: float = Field(default=0.15, gt=0, lt=1)  # of their clips, for early stopping [ours]
    min_clips: int = Field(default=20, ge=3)  # a speaker with fewer is held out as a whole [ours]
    clip: float = Field(default=3.0, gt=0)  # standard deviations of the features, after z-normalisation
    hidden: int = Field(default=64, ge=1)  # units a direction of every LSTM layer [ours]
    layers: int = Field(default=1, ge=1)  # shared LSTM layers [ours]
    dropout: float = Field(default=0.2, ge=0, lt=1)  # [ours]
    batch_size: int = Field(default=16, ge=1)  # utterances [ours]
    lr: float = Field(default=2e-3, gt=0)  # AdamW [ours]
    head_hidden: Literal[0] = 0  # heads are linear [ours]
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)  # of both secondary tasks

    @model_validator(mode="after")
    def _distinct(self) -> OrofacialParams:
        for name in ("structures", "tasks", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} must be non-empty and without repeats")
        if any(len(set(tasks)) != len(tasks) for tasks in self.tasks):
            raise ValueError("tasks must name viseme and emotion at most once each")
        if self.augment.mixup:
            raise ValueError("augment.mixup mixes utterances, whose tracks cannot be mixed")
        if self.test_share + self.dev_share >= 1:
            raise ValueError("test_share and dev_share must leave clips to train on")
        return self


Measure = Literal[
    "uar", "macro_f1", "macro_precision", "macro_recall", "accuracy", "kl", "ece", "f1_over_chance", "ccc"
]


class ReportParams(Section):
    """Section ``report``."""

    measure: Measure = "uar"  # of the bar chart and the printed intervals; else the objective's own score
    alpha: float = Field(default=0.05, gt=0, lt=1)  # significance level named in the paired test
    confidence: float = Field(default=0.95, gt=0, lt=1)  # of the intervals
    resamples: int = Field(default=2000, ge=100)  # of the bootstrap over speakers [ours]
    subsets: int = Field(default=30, ge=2)  # random parts of the pooled test set, for the papers' test [ours]
    seed: int = Field(default=0, ge=0)  # of resamples and subsets
    extra: tuple[str, ...] = ("reports/pipeline.json",)  # JSON summaries shown as tables if they exist


def _distinct_shares(values: tuple[float, ...]) -> tuple[float, ...]:
    if not values or len(set(values)) != len(values) or not all(0 < value <= 1 for value in values):
        raise ValueError("must be one or more different shares above 0 and up to 1")
    return tuple(sorted(values))


def _distinct_values(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values or len(set(values)) != len(values):
        raise ValueError("must be non-empty and without repeats")
    return values


Shares = Annotated[tuple[float, ...], AfterValidator(_distinct_shares)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], AfterValidator(_distinct_values)]
Against = Annotated[tuple[Literal["pretrained", "frozen"], ...], AfterValidator(_distinct_values)]


class VerdictParams(Section):
    """``ablation.verdict``: every recipe as it is, on seeds and label draws that no choice was made on."""

    run: bool = True
    seeds: Seeds = (100, 101, 102, 103, 104)  # none of finetune.seeds; dev speakers and labels follow them
    pretrain_seeds: Seeds = (10, 11)  # taken in turn by the seeds
    folds: int | Literal["same", "auto", "fold", "split", "loso"] = "same"  # same: those of finetune.folds
    modes: Against = ("pretrained",)
    label_fractions: Shares = (0.25,)  # the gain is expected where labels are few
    min_pairs: int = Field(default=24, ge=2)  # folds x seeds below which the verdict is refused


class AblationParams(Section):
    """Section ``ablation``: what is varied around ``pretrain`` and ``finetune``; folds and seeds are those there."""

    recipes: tuple[str, ...] = ("paper",)  # names of section recipes
    tasks: tuple[tuple[int, ...], ...] = ((1,), (2,), (3,), (1, 2, 3))
    modes: Against = ("pretrained", "frozen")  # each against scratch
    label_fractions: Shares = (0.25, 1.0)
    unlabelled_fractions: Shares = (0.25, 1.0)  # of the pretraining segments, nested draws
    cross: bool = False  # every task set with every unlabelled fraction; else only the recipe's own tasks
    pretrain_seeds: Seeds = (0,)  # taken in turn by finetune.seeds
    measure: Measure = "macro_f1"  # compared, tested and drawn; else the objective's own score
    verdict: VerdictParams = VerdictParams()

    @field_validator("tasks")
    @classmethod
    def _subsets(cls, tasks: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        ordered = tuple(tuple(sorted(subset)) for subset in tasks)
        fine = all(subset and set(subset) <= {1, 2, 3} and len(set(subset)) == len(subset) for subset in ordered)
        if not ordered or not fine or len(set(ordered)) != len(ordered):
            raise ValueError("must be different non-empty subsets of [1, 2, 3]; scratch, without any, is always there")
        return ordered


SystemName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # names a folder of models too
SYSTEMS: dict[str, dict[str, Any]] = {
    "cnn-gated": {},
    "cnn-mean": {"aggregator": "mean"},
    "cnn-rnn_attention": {"aggregator": "rnn_attention"},
    "cnn-self_attention": {"aggregator": "self_attention"},
    "cnn-pad": {"length": "pad", "aggregator": "mean"},
    "cnn-crop": {"length": "crop", "aggregator": "mean"},
    "lstm-mean": {"chunk_encoder": "lstm", "aggregator": "mean"},
    "lstm-gated": {"chunk_encoder": "lstm", "aggregator": "gated"},
    "lstm-pad": {"chunk_encoder": "lstm", "length": "pad", "aggregator": "mean"},
}


PENALTIES: dict[str, dict[str, Any]] = {
    "none": {},
    "printed": {"form": "printed"},
    "printed-half": {"form": "printed", "alpha": 0.5},
    "printed-alone": {"form": "printed", "beta": 0.0},
    "pairwise": {"form": "pairwise"},
    "pairwise-half": {"form": "pairwise", "alpha": 0.5},
}


class ComparisonParams(Section):
    """Named systems, all compared with the first, on folds, seeds and schedule of finetune; see trainer.comparison."""

    systems: dict[SystemName, dict[str, Any]] = Field(min_length=1)
    measure: Measure = "macro_f1"  # compared, tested and drawn, where the objective has it; else its own score


class PenalisationParams(ComparisonParams):
    """Section ``penalisation``: losses; systems are changes of section ``finetune.penalty``."""

    systems: dict[SystemName, dict[str, Any]] = Field(default=PENALTIES, min_length=1)


class SequenceParams(ComparisonParams):
    """Section ``sequence``: ways from speech of any length to one answer; systems are changes of section encoder."""

    systems: dict[SystemName, dict[str, Any]] = Field(default=SYSTEMS, min_length=1)  # [ours]
    shares: Shares = (0.25, 0.5, 0.75, 1.0)  # of every test utterance, heard by the trained networks [ours]
    cut: Literal["beginning", "middle"] = "middle"  # which part of a test utterance is kept [ours]
    timed: int = Field(default=50, ge=1)  # utterances a system is timed on, at most [ours]


class Params(BaseModel):
    """All sections of the trainer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trainer: RuntimeParams = RuntimeParams()
    encoder: EncoderParams = EncoderParams()
    pretrain: PretrainParams = PretrainParams()
    finetune: FinetuneParams = FinetuneParams()
    cluster: ClusterParams = ClusterParams()
    baselines: BaselinesParams = BaselinesParams()
    orofacial: OrofacialParams = OrofacialParams()
    report: ReportParams = ReportParams()
    recipes: dict[str, dict[str, Any]] = {"paper": {}}  # named changes of the sections above, see trainer.recipes
    ablation: AblationParams = AblationParams()
    sequence: SequenceParams = SequenceParams()
    penalisation: PenalisationParams = PenalisationParams()


SECTIONS = frozenset(Params.model_fields)


def parse_params(raw: dict[str, Any], *, source: str = "params.yaml") -> Params:
    """Validate the trainer's sections of a parsed ``params.yaml``; the pipeline's are known and left alone.

    Raises InputError naming section and key for an unknown or wrong value.

    >>> parse_params({"pretrain": {"tasks": [3, 1]}}).pretrain.tasks
    (1, 3)
    """
    own = {name: section for name, section in raw.items() if name not in PIPELINE_SECTIONS}
    try:
        return Params.model_validate({name: {} if body is None else body for name, body in own.items()})
    except ValidationError as error:
        lines = []
        for item in error.errors():
            where = ".".join(str(part) for part in item["loc"])
            message = "unknown key" if item["type"] == "extra_forbidden" else item["msg"]
            lines.append(f"  {where or '(root)'}: {message}")
        raise InputError(f"{source}:\n" + "\n".join(lines)) from None


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and validate ``params.yaml``.

    Raises InputError if the file is missing, is not a YAML mapping, or holds unknown keys or wrong values.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no parameter file {path}: run from the project's root or give --params")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path} must be a mapping of sections")
    return parse_params(raw, source=str(path))
