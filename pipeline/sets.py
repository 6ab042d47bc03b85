"""Two manifests in one folder to the section ``sets`` of ``params.yaml``."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import InputError
from pipeline.params import SetConfig, Sets, load_params

_SECTION = re.compile(r"^sets:.*\n(?:[ \t#].*\n|[ \t]*\n)*?(?=^[^ \t#\n]|\Z)", re.MULTILINE)


def use_manifests(folder: Path, *, params: Path = Path("params.yaml")) -> dict[str, SetConfig]:
    """Write ``folder``'s labelled.csv and unlabelled.csv into the section ``sets`` of ``params``; return the sets.

    Without unlabelled.csv the films stay those that ``params`` names. Paths in a manifest start from ``folder``, or
    from what ``folder``/roots.yaml says of its set (``labelled: /data/ravdess``; relative ones start from ``folder``).
    All else in ``params`` stays as it is, comments too.

    Raises:
        InputError: labelled.csv or a root is missing, roots.yaml names something else, or there is no section ``sets``.

    """
    roots = _roots(folder / "roots.yaml")
    try:
        old = params.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{params} not found: run from the folder that holds params.yaml") from error
    chosen: dict[str, SetConfig] = {}
    for name in Sets.model_fields:
        manifest, root = folder / f"{name}.csv", folder / roots.get(name, "")
        if name == "unlabelled" and not manifest.is_file() and name not in roots and _SECTION.search(old):
            chosen[name] = load_params(params).sets.unlabelled
            continue
        if not manifest.is_file():
            raise InputError(
                f"{manifest} is missing: a folder of manifests holds labelled.csv (utterances with labels) and "
                "unlabelled.csv (films whose faces teach); `python -m pipeline manifest` writes them"
            )
        if not root.is_dir():
            raise InputError(f"{root}, the root of {manifest}, is no folder: name it in {folder / 'roots.yaml'}")
        chosen[name] = SetConfig(manifest=manifest, root=root)
    lines = [
        # JSON strings are YAML strings, whatever stands in a path
        f"  {name}: {{ manifest: {json.dumps(str(one.manifest))}, root: {json.dumps(str(one.root))} }}\n"
        for name, one in chosen.items()
    ]
    section = "sets:\n" + "".join(lines) + "\n"
    new, found = _SECTION.subn(lambda _: section, old, count=1)
    if not found:
        raise InputError(f"{params} has no section sets")
    if new != old:
        _replace(params, new)
    return chosen


def _roots(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    fine = isinstance(raw, dict) and set(raw) <= set(Sets.model_fields)
    if not fine or not all(isinstance(root, str) for root in raw.values()):
        raise InputError(f"{path} must give a folder to unlabelled, labelled or both, and name nothing else")
    return dict(raw)


def _replace(path: Path, text: str) -> None:
    """Write beside ``path``, then rename: a killed run leaves the old file or the new one."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    Path(name).chmod(path.stat().st_mode)
    Path(name).replace(path)
