"""Parameters of the recipes, each read from ``recipes/<name>/params.yaml``; the defaults equal the files (tested).

Sources: [paper] and [code] as named per class; [ours] where they are silent.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from trainer.params.section import DISTINCT, Count, Layers, Measure, Section, Seeds, Shares, Size
from trainer.params.training import ScheduleParams
from trainer.params.tuning import FROM_PARENT, Mode

ClusterMode = Literal["scratch", "clustered", "clustered_both"]


class ClusterParams(Section):
    """Recipe ``cluster``: DeepEmoCluster, on the folds, seeds, target and schedule of ``finetune``."""

    # scratch: supervised alone; clustered: clusters of the labelled rows; clustered_both: of both sets
    modes: Annotated[tuple[ClusterMode, ...], DISTINCT] = ("scratch", "clustered", "clustered_both")
    k: int = Field(default=10, ge=2, le=4096)  # clusters [code: 10 for arousal, 30 for dominance and valence]
    iterations: Count = 20  # of K-means, every epoch [code]
    weight: float = Field(default=1.0, gt=0)  # of the clusters' cross-entropy; the objective's loss has 1 [code]
    # ours: utterances of both sets are clustered together; released: chunks, each set by itself, a head that is drawn
    # anew between the stages too, and an even draw of the labelled ones [code]
    method: Literal["ours", "released"] = "ours"
    # which rows are drawn evenly over clusters: those of stage 1, or the labelled ones of stage 2 too [ours]
    uniform: Literal["unlabelled", "all"] = "unlabelled"

    def __str__(self) -> str:
        """As in a row of results."""
        how = f"uniform {self.uniform}" if self.method == "ours" else "as released"
        return f"k {self.k}, {self.iterations} iterations, weight {self.weight:g}, {how}"


Structure = Literal["shared", "branches"]
Secondary = Literal["viseme", "emotion"]


class OrofacialParams(ScheduleParams):
    """Recipe ``orofacial``: speech-driven mouth movement (Sadoughi & Busso 2018), alone and with secondary tasks."""

    corpora: tuple[str, ...] = ()  # which corpora of the shards; empty: all
    structures: Annotated[tuple[Structure, ...], DISTINCT] = ("shared", "branches")  # both [paper]
    # secondary tasks of each network, learnt with movement [paper]
    tasks: Annotated[tuple[tuple[Secondary, ...], ...], DISTINCT] = (
        (), ("viseme",), ("emotion",), ("viseme", "emotion")
    )  # fmt: skip
    seeds: Seeds = (0, 1, 2)  # each draws its held-out sentences and first weights
    loss: Literal["ccc", "mse", "smooth_l1"] = "ccc"  # of movement: 1 - CCC a coordinate, or a distance [ours]
    viseme_weight: float = Field(default=0.3, gt=0)  # of its cross-entropy; the movement's loss has 1 [ours]
    emotion_weight: float = Field(default=0.1, gt=0)  # of its cross-entropy; the movement's loss has 1 [ours]
    viseme: Literal["alignment", "shapes"] = "alignment"  # the shards' classes, or clusters of mouth shapes [ours]
    shapes: int = Field(default=12, ge=2, le=100)  # clusters of mouth shapes [ours]
    # the manifest's label, the pseudo-label, or (auto) the manifest's where there are enough, else the pseudo-label
    emotion: Literal["auto", "emotion", "t3_label"] = "auto"
    # what is held out whole: a sentence, whoever says it (a clip where no sentence is known), or a clip [ours]
    held_out: Literal["sentences", "clips"] = "sentences"
    centre: Literal["none", "speaker", "segment"] = "speaker"  # whose mean position is subtracted [ours]
    test_share: float = Field(
        default=0.2, gt=0, lt=1
    )  # of the training speakers' sentences, held out for testing [ours]
    dev_share: float = Field(default=0.15, gt=0, lt=1)  # of their sentences, for early stopping [ours]
    min_clips: int = Field(default=20, ge=3)  # a speaker with fewer is held out as a whole [ours]
    clip: float = Field(default=3.0, gt=0)  # standard deviations of the features, after z-normalisation
    hidden: Size = 64  # units a direction of every LSTM layer [ours]
    layers: Layers = 1  # shared LSTM layers [ours]
    dropout: float = Field(default=0.2, ge=0, lt=1)  # [ours]
    batch_size: Count = 16  # utterances [ours]
    lr: float = Field(default=2e-3, gt=0, le=1000)  # AdamW [ours]
    head_hidden: Literal[0] = 0  # heads are linear [ours]
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)  # of both secondary tasks

    @model_validator(mode="after")
    def _consistent(self) -> OrofacialParams:
        if any(len(set(tasks)) != len(tasks) for tasks in self.tasks):
            raise ValueError("tasks must name viseme and emotion at most once each")
        if self.augment.mixup:
            raise ValueError("augment.mixup mixes utterances, whose tracks cannot be mixed")
        if self.test_share + self.dev_share >= 1:
            raise ValueError("test_share and dev_share must leave clips to train on")
        return self


Against = Annotated[tuple[Literal["pretrained", "frozen"], ...], DISTINCT]


class VerdictParams(Section):
    """Key ``verdict`` of the ablation: every variant as it is, on seeds and label draws that no choice was made on."""

    run: bool = True
    seeds: Seeds = (100, 101, 102, 103, 104)  # none of finetune.seeds; dev speakers and labels follow them
    pretrain_seeds: Seeds = (10, 11)  # taken in turn by the seeds
    folds: int | Literal["same", "auto", "fold", "split", "loso"] = "same"  # same: those of finetune.folds
    modes: Against = ("pretrained",)
    label_fractions: Shares = (0.25,)  # the gain is expected where labels are few
    min_pairs: int = Field(default=24, ge=2)  # folds x seeds below which the verdict is refused


class AblationParams(Section):
    """Recipe ``ablation``: what is varied around ``pretrain`` and ``finetune``; folds and seeds are those there."""

    variants: tuple[str, ...] = Field(default=("dense", "paper"), min_length=1)  # names of section variants
    tasks: tuple[tuple[int, ...], ...] = ((1,), (2,), (3,), (1, 2, 3))
    modes: Against = ("pretrained", "frozen")  # each against scratch
    label_fractions: Shares = (0.25, 1.0)
    unlabelled_fractions: Shares = (0.25, 1.0)  # of the pretraining segments, nested draws
    cross: bool = False  # every task set with every unlabelled fraction; else only the variant's own tasks
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


ArmName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]


class ArmParams(Section):
    """An arm of the controls: how its networks are trained, and what they start from."""

    mode: Mode = "pretrained"  # of section finetune
    # what modes pretrained and frozen start from. films: pretraining; labels: a network trained on all labels of the
    # fold's training speakers; other_labels: on all labels of another corpus. The last two are ceilings [ours]
    parent: Literal["films", "labels", "other_labels"] = "films"
    variant: str = ""  # of section variants; empty: the parameters as they are
    changes: dict[str, Any] = Field(default={})  # of encoder, pretrain and finetune, on top
    control: str = ""  # arm that a gain must beat as well as scratch: the same but for one thing, as a rule the faces
    seeds: Count | None = None  # only the first so many of the recipe's seeds, where an arm costs much; null: all


class ControlsParams(Section):
    """Recipe ``controls``: is it the face that teaches? Every arm against scratch, on the folds of section finetune."""

    arms: dict[ArmName, ArmParams] = Field(min_length=1)
    # the arm that the recipe asks about, named before it is run: its p is not corrected, those of all others are.
    # Empty: none
    primary: str
    label_fractions: Shares = (0.125,)  # of the training labels (not of ceilings' parents); several: averaged
    seeds: Seeds = (200, 201, 202, 203, 204, 205)  # none of finetune.seeds
    pretrain_seeds: Seeds = (10,)  # taken in turn by the seeds
    measure: Measure = "macro_f1"  # compared and tested; else the objective's own score

    @model_validator(mode="after")
    def _consistent(self) -> ControlsParams:
        if "scratch" in self.arms:
            raise ValueError("arms: scratch is always there")
        if self.primary and self.primary not in self.arms:
            raise ValueError(f"primary: there is no arm {self.primary}")
        for name, arm in self.arms.items():
            if arm.control and arm.control not in self.arms:
                raise ValueError(f"arms.{name}.control: there is no arm {arm.control}")
            if arm.parent != "films" and arm.mode not in FROM_PARENT:
                raise ValueError(
                    f"arms.{name}: mode {arm.mode} starts from nothing, parent {arm.parent} goes with pretrained"
                )
        return self


SystemName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # names a folder of models too


class ComparisonParams(Section):
    """Named systems, all compared with the first, on folds, seeds and schedule of ``finetune``."""

    name: ClassVar[str]  # of the recipe
    changed: ClassVar[str]  # prefix of the keys that systems change
    heading: ClassVar[str]  # of the report
    systems: dict[SystemName, dict[str, Any]] = Field(min_length=1)
    measure: Measure = "macro_f1"  # compared, tested and drawn, where the objective has it; else its own score


class PenalisationParams(ComparisonParams):
    """Recipe ``penalisation``: losses; systems are changes of section ``finetune.penalty``."""

    name = "penalisation"
    changed = "finetune.penalty."
    heading = "A loss that knows which emotions go together"


class SequenceParams(ComparisonParams):
    """Recipe ``sequence``: ways from speech of any length to one answer; systems are changes of section ``encoder``."""

    name = "sequence"
    changed = "encoder."
    heading = "From speech of any length to one answer"
    shares: Shares = (0.25, 0.5, 0.75, 1.0)  # of every test utterance that the networks get [ours]
    cut: Literal["beginning", "middle"] = "middle"  # which part of a test utterance is kept [ours]
    timed: Count = 50  # utterances a system is timed on, at most [ours]
