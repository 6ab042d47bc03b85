"""The weights of py-feat's detectors: which files, where they lie, how they are fetched once."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.faces.config import PyfeatConfig


@dataclass(frozen=True)
class Weights:
    """A file on the Hugging Face hub; any one of ``names`` will do, the first is the newest."""

    repo: str
    names: tuple[str, ...]


_RETINAFACE = Weights("py-feat/retinaface_r34", ("model.safetensors", "retinaface_r34.safetensors"))
_WEIGHTS: dict[str, tuple[Weights, ...]] = {
    "v1-xgb": (
        _RETINAFACE,
        Weights("py-feat/mobilefacenet", ("mobilefacenet_model_best.pth.tar",)),
        Weights("py-feat/xgb_au", ("xgb_au_classifier_v2.skops", "xgb_au_classifier.skops")),
    ),
    "v1-svm": (
        _RETINAFACE,
        Weights("py-feat/mobilefacenet", ("mobilefacenet_model_best.pth.tar",)),
        Weights("py-feat/svm_au", ("svm_au_classifier_v2.skops", "svm_au_classifier.skops")),
    ),
    "v2": (_RETINAFACE, Weights("py-feat/face_multitask_v2", ("face_multitask_v28.safetensors",))),
}
OWN_FILE = "FEAT_MULTITASK_WEIGHTS"  # py-feat's own variable: path of a local multitask checkpoint


def cache_folder() -> Path:
    """Return the hub cache that py-feat reads: its own resource folder.

    Raises:
        InputError: py-feat is not installed.
    """
    spec = importlib.util.find_spec("feat")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("faces.backend is pyfeat, but py-feat is not installed: pip install py-feat==2.1.5")
    return Path(spec.submodule_search_locations[0]) / "resources"


@contextmanager
def offline() -> Iterator[None]:
    """Keep the hub's library from asking the network, and from waiting for an answer.

    All that is needed was found in the cache before. py-feat looks for further files all the same (a pose network that
    is not used here) at the first frames, and without a network each look takes half a minute of retries.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def needed_weights(config: PyfeatConfig) -> tuple[Weights, ...]:
    """Return the files that the configured detector loads."""
    needed = _WEIGHTS["v2" if config.detector == "v2" else f"v1-{config.au_model}"]
    if config.detector == "v2" and os.environ.get(OWN_FILE):
        needed = needed[:1]
    return needed


def find_weights(config: PyfeatConfig, folder: Path | None = None) -> dict[str, Path]:
    """Return "repo/file" to path for every file the detector needs, from the local cache alone.

    Raises:
        InputError: names each file that is missing, its repository, and how to fetch it once.
    """
    from huggingface_hub import try_to_load_from_cache

    folder = folder or cache_folder()
    found: dict[str, Path] = {}
    missing = []
    for weights in needed_weights(config):
        for name in weights.names:
            path = try_to_load_from_cache(weights.repo, name, cache_dir=str(folder))
            if isinstance(path, str):
                found[f"{weights.repo}/{name}"] = Path(path)
                break
        else:
            missing.append(f"{weights.names[0]} from https://huggingface.co/{weights.repo}")
    if missing:
        raise InputError(
            f"py-feat detector {config.detector} lacks weights in {folder}: {'; '.join(missing)}. "
            "Fetch them once, with a network: python -m pipeline models fetch. "
            "Or use faces.backend: mesh, which needs none"
        )
    return found


def fetch_models(folder: Path | None = None) -> None:
    """Download the weights of both detectors into py-feat's cache, and say which files came.

    Raises:
        InputError: the hub cannot be reached (or HF_HUB_OFFLINE is set), or the folder cannot be written.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    folder = folder or cache_folder()
    if constants.HF_HUB_OFFLINE:
        raise InputError("HF_HUB_OFFLINE is set: unset it to download py-feat's weights")
    for weights in dict.fromkeys(weights for group in _WEIGHTS.values() for weights in group):
        try:
            path = hf_hub_download(weights.repo, weights.names[0], cache_dir=str(folder))
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
            raise InputError(
                f"cannot fetch {weights.names[0]} from https://huggingface.co/{weights.repo} into {folder}: "
                f"{str(error).splitlines()[0] if str(error) else type(error).__name__}. Check the network, proxy and "
                "write permission; or copy that cache folder from a machine that has it"
            ) from error
        print(f"{weights.repo}/{weights.names[0]}: {path}")
