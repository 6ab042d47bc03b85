"""The driver alone: time and memory a row when everything is cached, and bytes an hour of film.

Each number of rows is measured in a process of its own, whose peak memory is the system's.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.engine.cache import Cache
from pipeline.engine.compute import Item, Items, RunConfig, compute
from pipeline.engine.identity import Keys, identity
from tests import ROOT
from tests.bench.table import Line
from tests.pipeline.engine.extractors_for_tests import SCHEMA, Double, DoubleConfig

LINKS = 10_000  # that one file of the cache stands for; file systems allow no more than 65,000 names a file


def lines(work: Path, counts: tuple[int, ...]) -> Iterator[Line]:
    """Yield the driver's cost a row at so many rows, all in the cache, table included."""
    first: dict[str, float] = {}
    for count in sorted(counts):
        fill(work / "driver", count)
        command = [sys.executable, "-m", "tests.bench.driver", str(work), str(count)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
        first = first or found
        note = (
            f"restart {found['restart']:.1f} s, memory {found['memory'] / 1e6:.0f} MB more than empty; "
            "the yardstick is the smallest number of rows"
        )
        yield Line(f"driver, {count:,} cached rows", found["row"], first["row"], "ms a row", note)


def _items(count: int) -> Items:
    return Items(range(count), lambda n: Item(f"i{n:07d}", {"n": n}, dict))


def fill(folder: Path, count: int) -> None:
    """Put so many rows into a cache: few files under many names, since to write a million takes most of an hour."""
    cache, key_of = Cache(folder, "bench", SCHEMA), Keys(identity(Double(DoubleConfig())))
    for number, item in enumerate(_items(count)):
        path = cache.path(key_of(item.inputs))
        if number % LINKS == 0:
            original = path
            if not path.exists():
                cache.write(path.stem, {"segment_id": item.id, "status": "ok", "value": [1.0] * 100})
        elif not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(original, path)


def measure(work: Path, count: int) -> dict[str, float]:
    """Return ms a row, s until it is known that nothing is missing, and bytes of peak memory above the start's."""
    empty = _peak()
    run = RunConfig(cache=work / "driver")
    began = time.process_time()
    results = compute("bench", Double(DoubleConfig()), _items(count), schema=SCHEMA, run=run)
    restart = time.process_time() - began
    results.write(work / f"table{count}", metadata={})
    return {"row": 1e3 * (time.process_time() - began) / count, "restart": restart, "memory": _peak() - empty}


def _peak() -> float:
    """Return the peak memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # the other count starts at what the process that started this one took
        (line,) = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")]
        return 1024.0 * float(line.split()[1])
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def disk(project: Path) -> Iterator[Line]:
    """Yield the bytes that a finished run of the flow takes, an hour of its films."""
    import pandas as pd

    segments = pd.read_parquet(project / "data/segments/unlabelled", columns=["start", "end", "status"])
    hours = float((segments["end"] - segments["start"])[segments["status"] == "ok"].sum()) / 3600
    for name in ("faces/unlabelled", "acoustics/unlabelled", "audio/unlabelled", "shards/unlabelled"):
        size = sum(path.stat().st_size for path in (project / "data" / name).rglob("*") if path.is_file())
        yield Line(f"disk, {name}", size / hours / 1e6, None, "MB an hour", f"{3600 * hours:.0f} s of film")
    for name in (".cache/avser/faces", ".cache/avser", ".cache/trainer/frames"):
        size = sum(path.stat().st_size for path in (project / name).rglob("*") if path.is_file())
        yield Line(f"disk, {name} of both sets", size / hours / 1e6, None, "MB an hour")


if __name__ == "__main__":
    sys.stdout, stdout = sys.stderr, sys.stdout
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))), file=stdout)
