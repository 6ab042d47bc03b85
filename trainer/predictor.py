"""A fine-tuned model that hears features from elsewhere than shards, such as those of one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from trainer.data.arrays import FloatArray
from trainer.data.shards import hold_in_memory
from trainer.errors import InputError
from trainer.models.checkpoint import ModelSpec, load_model
from trainer.objectives import Objective
from trainer.params import RuntimeParams
from trainer.training.loop import make_deterministic, run_network

BATCH = 64  # utterances
VOTES = "votes"  # the target of models that were trained on raters' votes


def target_of(spec: ModelSpec, config: Mapping[str, Any]) -> str:
    """Return which head of a fine-tuned model is its own target: others may have been trained beside it."""
    stated = config.get("params", {}).get("finetune", {}).get("target")
    return stated if stated in spec.heads else next(iter(spec.heads))


def temperature_of(spec: ModelSpec, config: Mapping[str, Any], *, where: str) -> float:
    """Return what the logits of the target are divided by; 1 for a model that was not calibrated.

    Raises:
        InputError: ``calibration`` of ``config.json`` states a temperature that is none; names ``where``.
    """
    stated = (config.get("calibration") or {}).get("temperature", 1.0)
    if not isinstance(stated, int | float) or isinstance(stated, bool) or not 0 < stated < float("inf"):
        raise InputError(f"{where}: calibration.temperature must be a number above 0, not {stated!r}")
    return float(stated) if spec.heads[target_of(spec, config)].is_classes else 1.0


class Predictor:
    """The network of a model folder, its target and, where it has been calibrated, its temperature.

    Args:
        folder: of a fine-tuned model.
        runtime: threads and device.

    Raises:
        InputError: it is no model folder, is damaged, was only pretrained, or does not say how its features were made.
    """

    def __init__(self, folder: str | Path, runtime: RuntimeParams | None = None) -> None:
        self.folder, self.runtime = Path(folder), runtime or RuntimeParams()
        loaded = load_model(folder)
        self.spec: ModelSpec = loaded.spec
        self.config: dict[str, Any] = loaded.config
        if self.spec.kind != "finetune":
            raise InputError(
                f"{folder} was pretrained only and knows no emotions: name a fine-tuned model (models/finetune/...)"
            )
        self.temperature = temperature_of(self.spec, self.config, where=str(folder))
        make_deterministic(self.runtime, seed=0)
        self.network = loaded.network.to(self.runtime.device)

    @property
    def front_end(self) -> dict[str, Any]:
        """How the pipeline made the features of training.

        Raises:
            InputError: the model does not say so.
        """
        found = self.config.get("front_end")
        if not found:
            raise InputError(
                f"{self.folder} does not say how its features were made (config.json has no front_end), as models "
                "trained by earlier versions: make the shards again and train again (dvc repro)"
            )
        return found

    @property
    def target(self) -> str:
        """Name of the target, as in the manifest: ``emotion``, ``arousal+valence`` ..."""
        return target_of(self.spec, self.config)

    @property
    def objective(self) -> Objective:
        """What the target's outputs mean."""
        return self.spec.heads[self.target]

    @property
    def answer(self) -> str:
        """Column of the class or classes that are answered; votes are on emotions."""
        return "emotion" if self.target == VOTES else self.target

    @property
    def columns(self) -> list[str]:
        """Columns of `predict`."""
        objective = self.objective
        if not objective.is_classes:
            return list(objective.names)
        answer = [self.answer, "confidence"] if objective.one_class else [self.answer]
        return answer + [f"p_{name}" for name in objective.names]

    @property
    def by_speaker(self) -> bool:
        """Whether features are normalised by each speaker's own speech, so that all of it must be there at once."""
        return self.spec.normalisation.scope == "speaker"

    def predict(self, features: Sequence[FloatArray], speakers: Sequence[str]) -> pd.DataFrame:
        """Predict utterances.

        Args:
            features: N arrays (n_frames, F), as the pipeline gives them.
            speakers: who speaks in each; they count only for a model that is normalised `by_speaker`.

        Returns:
            A row an utterance. Of classes `answer` (the most probable one; of a multi-label model all above .5,
            joined by "+", perhaps none), its ``confidence`` where there is one answer, and
            ``p_<class>``. Of attributes one column each, in the corpus's scale.
        """
        outputs = self._logits(features, speakers)
        objective = self.objective
        predicted = objective.predict(outputs / self.temperature)
        if not objective.is_classes:
            return pd.DataFrame(predicted, columns=self.columns)
        names = np.array(objective.names)
        answers: list[Any] = [["+".join(names[row > 0.5]) for row in predicted]]
        if objective.one_class:
            answers = [names[predicted.argmax(axis=1)], predicted.max(axis=1)]
        return pd.DataFrame(dict(zip(self.columns, [*answers, *predicted.T], strict=True)))

    def _logits(self, features: Sequence[FloatArray], speakers: Sequence[str]) -> Tensor:
        names, period = self.spec.feature_names, self.spec.frame_period
        rows = hold_in_memory(features, speakers, feature_names=names, frame_period=period)
        data = self.spec.dataset(rows, np.arange(len(features)))
        return run_network(self.network, data, batch_size=BATCH, device=self.runtime.device).logits[self.target]
