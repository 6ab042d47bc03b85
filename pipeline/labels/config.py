"""Parameters of the pseudo-labels. The paper states none of them: every default here is ours."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config import Config

# FACS / EMFACS rules: which action units show which emotion (SCIENCE: variants differ a little by source).
RULES: dict[str, list[str]] = {
    "anger": ["AU04", "AU05", "AU07", "AU23"],
    "disgust": ["AU09", "AU15"],
    "fear": ["AU01", "AU02", "AU04", "AU05", "AU07", "AU20", "AU26"],
    "happiness": ["AU06", "AU12"],
    "sadness": ["AU01", "AU04", "AU15"],
    "surprise": ["AU01", "AU02", "AU05", "AU26"],
}


class Threshold(Config):
    """How a statistic becomes high or low."""

    quantiles: tuple[float, float] = Field(
        (0.5, 0.5), description="low below the first, high above the second, no label between; equal: median"
    )
    scope: Literal["corpus", "speaker", "global"] = Field(
        "corpus", description="rows that share a threshold; a global one turns the label into a corpus label"
    )
    min_segments: int = Field(
        8, ge=1, description="train segments a corpus or speaker needs for its own threshold; else the wider scope"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Threshold:
        low, high = self.quantiles
        if not 0 < low <= high < 1:
            raise ValueError("quantiles must satisfy 0 < low <= high < 1")
        return self


class EnergyVariation(Config):
    """T1: variation of the speech energy."""

    statistic: Literal["std", "mean_abs_change"] = "std"
    min_voiced: float = Field(0.3, ge=0, description="seconds of voiced speech below which there is no label")
    threshold: Threshold = Threshold()


class FacialActivation(Config):
    """T2: movement of the aligned landmarks."""

    region: Literal["whole", "mouth", "rest"] = Field("whole", description="which statistic the label follows")
    smooth: float = Field(
        0.06, ge=0, description="s, standard deviation of a Gaussian over the landmarks; jitter is not movement"
    )
    max_step: float = Field(0.21, gt=0, description="s between two frames; longer gaps are not counted as movement")
    max_jump: float = Field(
        0.25, gt=0, description="inter-ocular distances a step; more is a camera cut or a lost face, not a face"
    )
    threshold: Threshold = Threshold()


class AuEmotion(Config):
    """T3: emotion from action units."""

    rules: dict[str, list[str]] = Field(default=RULES, description="emotion -> action units")
    summary: float = Field(0.75, gt=0, le=1, description="quantile over frames that stands for the segment")
    contrast: float = Field(
        0.5, ge=0, description="share of the other emotions' units subtracted, since surprise lies inside fear"
    )
    floor: float = Field(0.6, ge=0, description="score (train standard deviations) below which a face is neutral")
    min_confidence: float = Field(
        0.05, ge=0, description="margin to the second score below which there is no label; a third of those would flip"
    )
    baseline_segments: int = Field(
        1, ge=1, description="segments a speaker needs for a baseline of their own; else the corpus' typical face"
    )
    min_reliability: float = Field(
        0.0, ge=0, le=1, description="mean reliability of an emotion's units below which it is not among the labels"
    )


class LabelsConfig(Config):
    """Section ``labels`` of params.yaml."""

    min_valid_ratio: float = Field(0.6, ge=0, le=1, description="share of frames with a face below which T2, T3 lack")
    min_valid_seconds: float = Field(0.5, ge=0, description="s with a face below which T2 and T3 lack")
    min_sync: float = Field(
        -1.0, ge=-1, le=1, description="correlation of speech level and mouth opening below which T2, T3 lack; -1: off"
    )
    min_talk: float = Field(
        -1.0, ge=-1, le=1, description="talk_score, where faces were several, below which T2 and T3 lack; -1: off"
    )
    energy_variation: EnergyVariation = EnergyVariation()
    facial_activation: FacialActivation = FacialActivation()
    au_emotion: AuEmotion = AuEmotion()
