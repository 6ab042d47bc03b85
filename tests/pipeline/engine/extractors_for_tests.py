"""Extractors that misbehave on purpose; a module of its own so that worker processes can import it."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from pipeline.config import Config
from pipeline.errors import InputError, Quarantined

SCHEMA = pa.schema(
    [("segment_id", pa.string()), ("status", pa.string()), ("reason", pa.string()), ("value", pa.list_(pa.float32()))]
)


class DoubleConfig(Config):
    factor: float = 2.0


class Double:
    modules: ClassVar[tuple[str, ...]] = ("tests.pipeline.engine.extractors_for_tests",)
    packages: ClassVar[tuple[str, ...]] = ("numpy",)

    def __init__(self, config: DoubleConfig) -> None:
        self.config = config

    def metadata(self) -> dict[str, Any]:
        return {"frame_period": 0.01}

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        match item["do"]:
            case "quarantine":
                raise Quarantined("not to our taste")
            case "raise":
                raise ValueError("broken")
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                time.sleep(600)
            case "kill-once" if not (flag := Path(item["log"])).exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case "full":
                raise OSError(errno.ENOSPC, "No space left on device", "/disk/some/file")
            case "away":
                raise PermissionError(errno.EACCES, "Permission denied", "/film")
            case "read":
                return {"value": np.frombuffer(Path(item["path"]).read_bytes(), np.uint8).astype(np.float32)}
            case "overwrite":
                Path(item["path"]).write_text("other")
            case "stop":
                raise InputError("weights are missing")
        if item.get("log"):
            with open(item["log"], "a") as handle:  # noqa: PTH123
                handle.write(f"{item['value']}\n")
        time.sleep(item.get("sleep", 0))
        return {"value": np.full(3, item["value"] * self.config.factor, np.float32)}
