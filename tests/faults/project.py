"""A small project on which faults are tried: clips and shards made on the spot, and commands as a user gives them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import soundfile
import yaml

from tests import ROOT
from tests.pipeline.conftest import speech_like
from tests.trainer.conftest import labelled_rows, write_part

CLIPS = 8
TIMEOUT = 120  # s a command may take; longer is a hang, and a hang is a loss


class Project:
    """A folder with params.yaml, eight clips and labelled shards; commands run in it with the code of this checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def make(cls, folder: Path) -> Project:
        """Write the input: clips and their manifest, and shards for the trainer."""
        (folder / "media").mkdir(parents=True)
        lines = ["clip_id,corpus,path,speaker,emotion"]
        for number in range(CLIPS):
            sound = speech_like([(0.2, False), (1.0 + number / 10, True), (0.2, False)], seed=number)
            soundfile.write(folder / f"media/{number}.wav", sound, 16000, subtype="PCM_16")
            lines.append(f"c{number},toy,{number}.wav,s{number % 4},{('anger', 'neutral')[number % 2]}")
        (folder / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        params["sets"] = {key: {"manifest": "clips.csv", "root": "media"} for key in ("unlabelled", "labelled")}
        params["run"]["workers"] = 2
        params["encoder"] |= {"widths": [8], "hidden": 8, "max_seconds": 3.0}
        params["finetune"] |= {"modes": ["scratch"], "seeds": [0], "folds": 3, "epochs": 3, "keep": "none"}
        (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        write_part(folder / "toy_shards/part-000.parquet", labelled_rows(per_class=2))
        return cls(folder)

    def copy(self, folder: Path) -> Project:
        """Copy the project as it is now, times of files included, since a table is valid by content and place."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder, copy_function=shutil.copy2)
        return Project(folder)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start ``python -m COMMAND`` in the folder, as the leader of a process group."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str) -> tuple[int, str]:
        """Run a command to its end; status 124 if it hangs."""
        return finish(self.start(*command))

    def table(self, stage: str) -> dict[str, Any] | None:
        """Return the rows of a stage's table, by segment; None if there is none that can be read."""
        try:
            rows = pd.read_parquet(self.folder / "data" / stage / "labelled")
        except Exception:  # absent or damaged: both mean that there is no table
            return None
        return {row["segment_id"]: {k: _plain(v) for k, v in row.items()} for row in rows.to_dict("records")}

    def results(self) -> dict[str, Any] | None:
        """Return the rows of fine-tuning's result table and its predictions; None if there are none."""
        try:
            runs = pd.read_csv(self.folder / "reports/finetune_runs.csv")
            predictions = pd.read_parquet(self.folder / "reports/predictions.parquet")
        except Exception:
            return None
        return {"runs": runs.to_csv(index=False), "predictions": predictions.to_csv(index=False)}


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a started command; kill its group if it hangs."""
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return 124, output
    return process.returncode, output


def kill_some(process: subprocess.Popen[str], *, whom: str, draw: random.Random, latest: float) -> bool:
    """Kill the driver with its children, or one child, at a random time; False if it had ended before."""
    until = time.monotonic() + draw.uniform(0.3, latest)
    while time.monotonic() < until:
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    if whom == "driver":
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    try:
        children = [child for child in psutil.Process(process.pid).children(recursive=True) if child.is_running()]
        if children:
            draw.choice(children).kill()
            return True
    except psutil.NoSuchProcess:
        pass
    return False


def damage(path: Path, draw: random.Random) -> str:
    """Flip a bit, overwrite a stretch, cut off the end, or empty a file; return what was done."""
    content = bytearray(path.read_bytes())
    how = draw.choice(["flip", "overwrite", "cut", "empty"])
    place = draw.randrange(max(1, len(content)))
    if how == "flip" and content:
        content[place] ^= 1 << draw.randrange(8)
    elif how == "overwrite":
        content[place : place + 16] = draw.randbytes(min(16, len(content) - place))
    elif how == "cut":
        del content[place:]
    else:
        content.clear()
    path.write_bytes(content)
    return f"{how} of {path.name} at {place}"


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tobytes()
    return None if isinstance(value, float) and np.isnan(value) else value
