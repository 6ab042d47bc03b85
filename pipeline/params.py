"""``params.yaml``, read, checked and edited: every section is the config of the stage it is named after."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError
from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from pipeline.acoustics import AcousticsConfig
from pipeline.audio import AudioConfig
from pipeline.config import Config, similar_key
from pipeline.engine.compute import RunConfig
from pipeline.engine.files import replace_file
from pipeline.engine.names import expand
from pipeline.errors import InputError
from pipeline.faces.config import FacesConfig
from pipeline.front_end.grid import FeatureColumn
from pipeline.functionals import FunctionalsConfig
from pipeline.labels.config import LabelsConfig
from pipeline.labels.tracks import DenseConfig
from pipeline.segments import SegmentsConfig
from pipeline.synthetic.corpus import SyntheticConfig

SetName = Literal["unlabelled", "labelled"]
# Sections that the trainer owns and checks; known here only so that a misspelt section is still refused.
TRAINER_SECTIONS = ("trainer", "encoder", "pretrain", "finetune", "baselines", "report", "variants")


UserPath = Annotated[Path, AfterValidator(expand)]


class SetConfig(Config):
    """One set of clips: a manifest and the folder that its paths start from; ``~`` is the home."""

    manifest: UserPath
    root: UserPath


class Sets(Config):
    """The two sets: films whose faces teach, and utterances whose labels count."""

    unlabelled: SetConfig
    labelled: SetConfig


class WatchConfig(Config):
    """Section ``watch``: what DVC looks at, beside the manifests, to see whether media files changed."""

    unlabelled: Path = Path("data/synthetic")
    labelled: Path = Path("data/synthetic")


class SplitConfig(Config):
    """Section ``split``: how unlabelled clips whose manifest gives no split are parted, by speaker."""

    dev_share: float = Field(0.15, ge=0, lt=1, description="share of segments whose speakers become the dev split")


class ShardsConfig(Config):
    """Section ``shards``: what the trainer gets to see."""

    features: FeatureColumn = Field("lld", description="which acoustic column becomes the features, or which ones")
    dense: DenseConfig = DenseConfig()


class Params(Config):
    """All sections of ``params.yaml`` that the pipeline reads."""

    sets: Sets
    watch: WatchConfig = WatchConfig()
    run: RunConfig = RunConfig()
    synthetic: SyntheticConfig = SyntheticConfig()
    segments: SegmentsConfig = SegmentsConfig()
    split: SplitConfig = SplitConfig()
    audio: AudioConfig = AudioConfig()
    acoustics: AcousticsConfig = AcousticsConfig()
    functionals: FunctionalsConfig = FunctionalsConfig()
    faces: FacesConfig = FacesConfig()
    labels: LabelsConfig = LabelsConfig()
    shards: ShardsConfig = ShardsConfig()

    def set(self, name: str) -> SetConfig:
        """Return the set of this name."""
        return getattr(self.sets, name)


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        InputError: it cannot be read, is no text in UTF-8 or no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"{path} not found: run from the folder that holds {path.name}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text in UTF-8 ({error}); save it anew") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        # PyYAML leaves what its constructors stumble over: an impossible date, a number without digits, endless depth.
        raise InputError(f"{path} is not valid YAML: {error}") from error


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check the parameters.

    Raises:
        InputError: the file is missing, is not YAML, or a key or value is wrong; names the key.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise InputError(f"{path} must be a table of sections, not {type(raw).__name__}")
    own = {name: section for name, section in raw.items() if name not in TRAINER_SECTIONS}
    try:
        return Params.model_validate(own)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, e['loc']))}: {e['msg']} (got {reprlib.repr(e['input'])})"
            + (similar_key(Params, e["loc"]) if e["type"] == "extra_forbidden" else "")
            for e in error.errors()
        ]
        raise InputError(f"{path}:\n" + "\n".join(lines)) from error


def use_manifests(folder: Path, *, params: Path = Path("params.yaml")) -> dict[str, SetConfig]:
    """Write ``folder``'s labelled.csv and unlabelled.csv into the section ``sets`` of ``params``.

    Without unlabelled.csv the films stay those that ``params`` names. Paths in a manifest start from ``folder``, or
    from what ``folder``/roots.yaml says of its set (``labelled: /data/ravdess``; relative ones start from ``folder``).
    DVC watches the roots then, but for one that holds the folder ``data`` of the
    outputs. All other values and comments of ``params`` stay.

    Args:
        folder: Folder of the manifests.
        params: Parameter file to edit.

    Returns:
        Set name to the manifest and root that ``params`` now names.

    Raises:
        InputError: labelled.csv or a root is missing, roots.yaml names something else, or there is no section ``sets``.
    """
    roots = _roots(folder / "roots.yaml")
    before = load_params(params)
    chosen: dict[str, SetConfig] = {}
    for name in Sets.model_fields:
        manifest, root = folder / f"{name}.csv", folder / expand(roots.get(name, ""))
        if name == "unlabelled" and not manifest.is_file() and name not in roots:
            chosen[name] = before.sets.unlabelled
            continue
        if not manifest.is_file():
            raise InputError(
                f"{manifest} is missing: a folder of manifests holds labelled.csv (utterances with labels) and "
                "unlabelled.csv (films whose faces teach); `python -m pipeline manifest` writes them"
            )
        if not root.is_dir():
            raise InputError(f"{root}, the root of {manifest}, is no folder: name it in {folder / 'roots.yaml'}")
        chosen[name] = SetConfig(manifest=manifest, root=root)
    content, save = _editable(params)
    for name, one in chosen.items():
        content["sets"][name].update(one.model_dump(mode="json"))
        if one != before.set(name):
            outputs = params.absolute().parent / "data"
            inside = outputs.resolve().is_relative_to(one.root.resolve())
            content.setdefault("watch", {})[name] = str(one.manifest if inside else one.root)
    save()
    return chosen


def set_values(params: Path, values: Mapping[str, Any]) -> list[str]:
    """Write values into a parameter file; its comments and all other values stay.

    Args:
        params: the file.
        values: dotted keys to values, e.g. ``finetune.folds``.

    Returns:
        A line for each that was another one: ``key: old -> new``.

    Raises:
        InputError: the file cannot be edited, or has no such key.
    """
    content, save = _editable(params)
    changed = []
    for key, value in values.items():
        *inner, last = key.split(".")
        place = content
        for name in inner:
            place = place.get(name) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise InputError(f"{params} has no key {key}")
        if place[last] != value:
            changed.append(f"{key}: {place[last]} -> {value}")
            place[last] = _on_one_line(value, place[last])
    save()
    return changed


def _on_one_line(value: Any, old: Any) -> Any:
    """Return a list or a table that is written on one line, with the comment of the old one."""
    if not isinstance(value, list | dict):
        return value
    new = CommentedSeq(value) if isinstance(value, list) else CommentedMap(value)
    new.fa.set_flow_style()
    if isinstance(old, CommentedSeq | CommentedMap) and old.ca.comment:
        new.ca.comment = old.ca.comment
    return new


def _editable(params: Path) -> tuple[Any, Callable[[], None]]:
    """Return what a parameter file holds, with its comments, and what writes it back."""
    editor = YAML()  # keeps comments and order
    editor.width = 10**6
    editor.preserve_quotes = True
    editor.representer.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))
    try:
        content = editor.load(params.read_text(encoding="utf-8-sig"))
    except YAMLError as error:
        raise InputError(f"{params} is not valid YAML: {error}") from error
    return content, lambda: replace_file(params, lambda temporary: editor.dump(content, temporary))


def _roots(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    raw = read_yaml(path)
    fine = isinstance(raw, dict) and set(raw) <= set(Sets.model_fields)
    if not fine or not all(isinstance(root, str) for root in raw.values()):
        raise InputError(f"{path} must give a folder to unlabelled, labelled or both, and name nothing else")
    return dict(raw)
