"""Functionals: one vector a segment, statistics of openSMILE's descriptors; the features of the baselines."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipeline.audio import decode_flac
from pipeline.config import DISTINCT, Config
from pipeline.errors import Quarantined

FeatureSet = Literal["egemaps", "compare"]
FEATURE_SETS: dict[str, str] = {
    "egemaps": "eGeMAPSv02",  # 88, extended Geneva minimalistic set (Eyben et al. 2016)
    "compare": "ComParE_2016",  # 6373, of the Interspeech ComParE challenges (Schuller et al. 2016)
}
_SHORTEST = 0.1  # s; with fewer than a few pitch frames of 60 ms the statistics mean nothing [ours]


class FunctionalsConfig(Config):
    """Section ``functionals``."""

    sets: Annotated[tuple[FeatureSet, ...], DISTINCT] = Field(
        ("egemaps", "compare"), min_length=1, description="openSMILE sets, as they come"
    )


class FunctionalsExtractor:
    """FLAC bytes to one vector a set, with openSMILE's own frames; it is loaded on the first call and kept."""

    modules: ClassVar[tuple[str, ...]] = ("pipeline.functionals", "pipeline.audio")
    packages: ClassVar[tuple[str, ...]] = ("opensmile", "soundfile", "numpy")

    def __init__(self, config: FunctionalsConfig) -> None:
        self.config = config

    @cached_property
    def _smiles(self) -> dict[str, Any]:
        import opensmile

        level = opensmile.FeatureLevel.Functionals
        return {
            name: opensmile.Smile(feature_set=opensmile.FeatureSet[FEATURE_SETS[name]], feature_level=level)
            for name in self.config.sets
        }

    def metadata(self) -> dict[str, Any]:
        """Return, per column, openSMILE's name of the set and the names of its values in order."""
        return {
            "sets": {
                name: {"feature_set": FEATURE_SETS[name], "feature_names": list(smile.feature_names)}
                for name, smile in self._smiles.items()
            },
            "units": "as openSMILE gives them",
        }

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return one float32 vector a set, (88,) ``egemaps`` and (6373,) ``compare``, of ``item["flac"]``.

        Raises:
            Quarantined: the sound is too short or gives values that are no numbers.
        """
        samples, rate = decode_flac(item["flac"])
        if len(samples) < _SHORTEST * rate:
            raise Quarantined(f"{len(samples) / rate:.3f} s of sound is shorter than {_SHORTEST:g} s")
        row = {}
        for name, smile in self._smiles.items():
            values = np.asarray(smile(samples, rate), dtype=np.float32).ravel()
            if len(values) != len(smile.feature_names):
                raise Quarantined(f"openSMILE gave {len(values)} values of {FEATURE_SETS[name]}, not one vector")
            wrong = np.flatnonzero(~np.isfinite(values))
            if len(wrong):
                where = ", ".join(smile.feature_names[index] for index in wrong[:3])
                raise Quarantined(f"openSMILE gave {len(wrong)} values that are no numbers ({where}, ...)")
            row[name] = values
        return row
