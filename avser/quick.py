"""The whole flow on a corpus of a few small films, in a folder of its own: from nothing to a table in two minutes.

The commands are those of ``dvc.yaml``, one after the other and without DVC; nothing of the project is touched. The
numbers that come out mean nothing; that something comes out does.
"""

from __future__ import annotations

import copy
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import InputError

ROOT = Path(__file__).parent.parent
# Few of everything; folds and seeds are the least that show a spread.
SMALL: dict[str, dict[str, Any]] = {
    "synthetic": {"unlabelled_speakers": 4, "clips_per_speaker": 3, "dev_speakers": 1, "labelled_speakers": 4,
                  "utterances_per_speaker": 8, "folds": 2, "size": 192},
    "pretrain": {"epochs": 10},
    "finetune": {"modes": ["scratch", "pretrained"], "label_fraction": 1.0},
}  # fmt: skip


def quick(folder: Path) -> None:
    """Run every stage in ``folder``, which is made if it is not there; a second call goes on from the caches.

    Raises:
        InputError: the project's ``dvc.yaml`` and ``params.yaml`` are not beside this package, or a stage failed.
    """
    sources = [ROOT / "dvc.yaml", ROOT / "params.yaml"]
    if missing := [path for path in sources if not path.is_file()]:
        raise InputError(f"{missing[0]} is missing: quick runs in a checkout of the project")
    flow, params = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in sources)
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(smaller(params, SMALL), sort_keys=False, allow_unicode=True)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    commands = list(stage_commands(flow["stages"]))
    log = folder / "log.txt"
    table = (0, 0)  # where in it stage report has printed the table
    print(f"the whole flow on 44 films and 32 utterances; about 100 s on two idle cores. Everything goes to {folder}")
    with log.open("w", encoding="utf-8") as sink:
        for number, (name, command) in enumerate(commands, start=1):
            print(f"{number:2d}/{len(commands)} {name}", end="", flush=True)
            started = time.monotonic()
            words = [sys.executable, *shlex.split(command)[1:]]
            begun = log.stat().st_size
            done = subprocess.run(words, cwd=folder, env=environment, stdout=sink, stderr=subprocess.STDOUT)
            if name == "report":
                table = begun, log.stat().st_size
            print(f"  {time.monotonic() - started:.0f} s", flush=True)
            if done.returncode:
                last = log.read_text(encoding="utf-8").strip().splitlines()[-1:]
                raise InputError(f"stage {name} failed: {' '.join(last)} (all of it: {log})")
    print(log.read_bytes()[slice(*table)].decode(errors="replace"))


def smaller(params: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with some values changed.

    >>> smaller({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    {'a': {'b': 3, 'c': 2}}
    """
    changed: dict[str, Any] = copy.deepcopy(dict(params))
    for section, values in changes.items():
        changed[section] |= values
    return changed


def stage_commands(stages: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and command of every stage of ``dvc.yaml``, in its order.

    >>> list(stage_commands({"a": {"foreach": ["x"], "do": {"cmd": "python -m pipeline a ${item}"}}}))
    [('a@x', 'python -m pipeline a x')]
    """
    for name, stage in stages.items():
        if "foreach" not in stage:
            yield name, stage["cmd"]
            continue
        for key in stage["foreach"]:
            yield f"{name}@{key}", stage["do"]["cmd"].replace("${key}", key).replace("${item}", key)
