"""The trainer's sections of ``params.yaml`` and the ``params.yaml`` of each recipe, read and checked.

The fields themselves, with unit and source, are in ``trainer.params.training``, ``tuning`` and ``recipes``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.errors import InputError
from trainer.params.recipes import (
    AblationParams,
    ArmParams,
    ClusterParams,
    ComparisonParams,
    ControlsParams,
    OrofacialParams,
    PenalisationParams,
    SequenceParams,
    VerdictParams,
)
from trainer.params.section import similar_key
from trainer.params.training import (
    AugmentParams,
    BaselinesParams,
    EncoderParams,
    PretrainParams,
    ReportParams,
    RuntimeParams,
    ScheduleParams,
)
from trainer.params.tuning import FROM_PARENT, AuxiliaryParams, FinetuneParams, PenaltyParams, SelfTrainingParams

PIPELINE_SECTIONS = frozenset({
    "sets", "watch", "run", "synthetic", "segments", "split", "audio", "acoustics", "functionals", "faces", "labels",
    "shards",
})  # fmt: skip
# Former sections of params.yaml and where their keys are now.
_RECIPES = ("ablation", "cluster", "orofacial", "penalisation", "sequence")
MOVED = {**{name: f"recipes/{name}/params.yaml" for name in _RECIPES}, "recipes": "section variants"}

Model = TypeVar("Model", bound=BaseModel)


class Params(BaseModel):
    """All sections of the trainer in ``params.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    trainer: RuntimeParams = RuntimeParams()
    encoder: EncoderParams = EncoderParams()
    pretrain: PretrainParams = PretrainParams()
    finetune: FinetuneParams = FinetuneParams()
    baselines: BaselinesParams = BaselinesParams()
    report: ReportParams = ReportParams()
    variants: dict[str, dict[str, Any]] = {}  # named changes of encoder, pretrain and finetune


SECTIONS = frozenset(Params.model_fields)


def parse_params(raw: dict[str, Any], *, source: str = "params.yaml") -> Params:
    """Validate the trainer's sections of a parsed ``params.yaml``; the pipeline's are known and left alone.

    Raises:
        InputError: an unknown or wrong value, named with its section, or a section that has moved.

    >>> parse_params({"pretrain": {"tasks": [3, 1]}}).pretrain.tasks
    (1, 3)
    """
    moved = [f"  {name}: these keys are now in {MOVED[name]}" for name in raw if name in MOVED]
    if moved:
        raise InputError(f"{source}:\n" + "\n".join(moved))
    own = {name: section for name, section in raw.items() if name not in PIPELINE_SECTIONS}
    return _checked(Params, {name: {} if body is None else body for name, body in own.items()}, source=source)


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and validate ``params.yaml``.

    Raises:
        InputError: the file is missing, is not a YAML mapping, or holds unknown keys or wrong values.
    """
    return parse_params(_mapping(Path(path), of="sections", option="--params"), source=str(path))


def load_recipe(path: str | Path, kind: type[Model]) -> Model:
    """Read and validate the ``params.yaml`` of a recipe, whose keys are the fields of ``kind``.

    Raises:
        InputError: the file is missing, is not a YAML mapping, or holds unknown keys or wrong values.
    """
    return _checked(kind, _mapping(Path(path), of="keys", option="--recipe"), source=str(path))


def _mapping(path: Path, *, of: str, option: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"no parameter file {path}: run from the project's root or give {option}")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text in UTF-8 ({error}); save it anew") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        # PyYAML leaves what its constructors stumble over: an impossible date, a number without digits, endless depth.
        raise InputError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path} must be a mapping of {of}")
    return raw


def _checked(kind: type[Model], raw: dict[str, Any], *, source: str) -> Model:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            where = ".".join(str(part) for part in item["loc"])
            unknown = item["type"] == "extra_forbidden"
            message = f"unknown key{similar_key(kind, item['loc'])}" if unknown else item["msg"]
            lines.append(f"  {where or '(root)'}: {message}")
        raise InputError(f"{source}:\n" + "\n".join(lines)) from None
