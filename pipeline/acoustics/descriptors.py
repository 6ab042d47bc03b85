"""openSMILE's low-level descriptors (LLDs), and only those, in one pass.

openSMILE's own Python interface computes LLDs and their deltas in two passes and the functionals besides. Here a
small configuration of ours includes the LLD part of a set from the files inside the installed wheel and joins the
levels wanted; the values are the same to the bit. The wheel's files are copied to a temporary folder, where frame
length and step can be changed; they are not ours to ship.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, Quarantined

FRAME_SIZE, FRAME_STEP = 0.020, 0.010  # s, of both sets as they come
PITCH_SIZE = 0.060  # s: pitch, jitter, shimmer and harmonics look at longer frames; these are never changed


@dataclass(frozen=True)
class DescriptorSet:
    """Where openSMILE keeps a set: its files, the levels to join, and the column that tells voicing."""

    includes: tuple[str, ...]
    levels: tuple[str, ...]
    pitch: str


SETS = {
    # 65 LLDs and their deltas, of the Interspeech ComParE challenges (Schuller et al. 2016)
    "compare_lld": DescriptorSet(
        includes=("compare/ComParE_2016_core.lld.conf.inc",),
        levels=tuple(f"is13_lld{part}{delta}" for delta in ("", "_de") for part in ("_nzsmo", "A_smo", "B_smo")),
        pitch="F0final_sma",
    ),
    # 25 LLDs of the extended Geneva minimalistic set, version 2 (Eyben et al. 2016)
    "egemaps_lld": DescriptorSet(
        includes=("gemaps/v01b/GeMAPSv01b_core.lld.conf.inc", "egemaps/v02/eGeMAPSv02_core.lld.conf.inc"),
        levels=("egemapsv02_lldsetE_smo", "egemapsv02_lldsetF_smo"),
        pitch="F0semitoneFrom27.5Hz_sma3nz",
    ),
}

_OURS = r"""
[componentInstances:cComponentManager]
instance[dataMemory].type=cDataMemory
\{{\cm[source{{?}}:source]}}
{includes}
[componentInstances:cComponentManager]
instance[joined].type=cVectorConcat
[joined:cVectorConcat]
reader.dmLevel = {levels}
writer.dmLevel = joined
includeSingleElementFields = 1
\{{\cm[sink{{?}}:sink]}}
"""


class Descriptors:
    """One openSMILE set, ready to run; each call starts afresh, so no file leaves a trace in the next.

    Args:
        name: a key of ``SETS``.
        frame_size: s, of the frames that spectral and energy descriptors look at.
        frame_step: s between frames.

    Raises:
        InputError: the installed openSMILE does not have the frames that are to be changed.
    """

    def __init__(self, name: str, *, frame_size: float = FRAME_SIZE, frame_step: float = FRAME_STEP) -> None:
        import opensmile

        chosen = SETS[name]
        self._folder = tempfile.TemporaryDirectory(prefix="avser-opensmile-")
        root = Path(self._folder.name)
        installed = _installed()
        for include in chosen.includes:
            target = root / include
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(
                _with_frames((installed / include).read_text(encoding="utf-8"), frame_size, frame_step),
                encoding="utf-8",
            )
        shutil.copytree(installed / "shared", root / "shared")
        main = root / f"{name}.conf"
        includes = "\n".join(rf"\{{{include}}}" for include in chosen.includes)
        main.write_text(_OURS.format(includes=includes, levels=";".join(chosen.levels)), encoding="utf-8")
        modes = {"bufferModeConf": "BufferMode", "bufferModeRbLagConf": "BufferModeRbLag"}
        self._smile: Any = opensmile.Smile(
            feature_set=str(main),
            feature_level="joined",
            options={option: str(root / "shared" / f"{file}.conf.inc") for option, file in modes.items()},
        )
        self.names: list[str] = list(self._smile.feature_names)
        self._pitch = self.names.index(chosen.pitch)
        # A pitch frame is centred later than the short frame of the same number; by so many frames voicing moves.
        self._lag = round((PITCH_SIZE - frame_size) / 2 / frame_step)

    def __call__(self, samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
        """Return the descriptors of mono samples (n,), full scale +-1: float32 (n_frames, n_features).

        Raises:
            Quarantined: the sound is shorter than one pitch frame, or a descriptor is no number.
        """
        if len(samples) < PITCH_SIZE * sample_rate:
            raise Quarantined(
                f"{len(samples) / sample_rate:.3f} s of sound is shorter than one analysis frame of {PITCH_SIZE:g} s"
            )
        values = np.ascontiguousarray(self._smile(samples, sample_rate)[0].T, dtype=np.float32)
        wrong = ~np.isfinite(values)
        if wrong.any():
            where = ", ".join(self.names[index] for index in np.flatnonzero(wrong.any(axis=0))[:3])
            raise Quarantined(f"openSMILE gave {int(wrong.sum())} values that are no numbers ({where}, ...)")
        return values

    def voiced(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which frames are voiced (F0 found), bool (n_frames,), at the time of the short frames.

        Row k of the descriptors holds the pitch of the 60 ms and the energy of the 20 ms that begin at k steps;
        their middles are 20 ms apart. Here row k tells whether the middle of its short frame is voiced. [ours]
        """
        found = values[:, self._pitch] > 0
        return np.concatenate((np.zeros(self._lag, dtype=bool), found))[: len(found)]


def _installed() -> Path:
    spec = find_spec("opensmile")
    if spec is None or spec.origin is None:
        raise InputError("openSMILE is not installed: `pip install opensmile`")
    return Path(spec.origin).parent / "core" / "config"


def _with_frames(text: str, size: float, step: float) -> str:
    """Return a configuration with the short frames' length and every frame's step changed."""
    if (size, step) == (FRAME_SIZE, FRAME_STEP) or "cFramer" not in text:
        return text
    text, sizes = re.subn(r"^(frameSize\s*=\s*)0\.020\s*$", rf"\g<1>{size:.4f}", text, flags=re.MULTILINE)
    text, steps = re.subn(r"^(frameStep\s*=\s*)0\.010\s*$", rf"\g<1>{step:.4f}", text, flags=re.MULTILINE)
    if (sizes, steps) != (1, 2):
        raise InputError("this openSMILE version has other frames; leave frame_size and frame_step at their defaults")
    return text
