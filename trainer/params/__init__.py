"""The trainer's part of ``params.yaml``: all sections together, read and checked.

The numbers themselves, with unit and source, are in ``training_params`` and ``study_params``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.errors import InputError
from trainer.params.recipes import (
    AblationParams,
    ClusterParams,
    ComparisonParams,
    OrofacialParams,
    PenalisationParams,
    SequenceParams,
    VerdictParams,
)
from trainer.params.training import (
    AugmentParams,
    AuxiliaryParams,
    BaselinesParams,
    EncoderParams,
    FinetuneParams,
    PenaltyParams,
    PretrainParams,
    ReportParams,
    RuntimeParams,
    ScheduleParams,
)

__all__ = [
    "PIPELINE_SECTIONS",
    "SECTIONS",
    "AblationParams",
    "AugmentParams",
    "AuxiliaryParams",
    "BaselinesParams",
    "ClusterParams",
    "ComparisonParams",
    "EncoderParams",
    "FinetuneParams",
    "OrofacialParams",
    "Params",
    "PenalisationParams",
    "PenaltyParams",
    "PretrainParams",
    "ReportParams",
    "RuntimeParams",
    "ScheduleParams",
    "SequenceParams",
    "VerdictParams",
    "load_params",
    "parse_params",
]

PIPELINE_SECTIONS = frozenset(
    {"sets", "run", "synthetic", "segments", "split", "audio", "acoustics", "functionals", "faces", "labels", "shards"}
)


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
    recipes: dict[str, dict[str, Any]] = {
        "paper": {}
    }  # named changes of the sections above, see trainer.params.changes
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
