"""The driver alone: time and memory a row when everything is cached, and bytes an hour of film."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from pipeline.engine.cache import Cache
from pipeline.engine.compute import Item, RunConfig, compute
from pipeline.engine.identity import digest, identity
from tests.bench.table import Line
from tests.pipeline.engine.extractors_for_tests import SCHEMA, Double, DoubleConfig


def lines(work: Path, counts: tuple[int, ...]) -> Iterator[Line]:
    """Yield the driver's cost a row at so many rows, all in the cache, table included."""
    extractor = Double(DoubleConfig())
    code = identity(extractor)
    cache = Cache(work / "driver", "bench", SCHEMA)
    first = None
    for count in counts:
        items = [Item(f"i{n:07d}", {"n": n}, dict) for n in range(count)]
        for item in items:
            key = digest([code, item.inputs])
            if not cache.path(key).exists():
                cache.write(key, {"segment_id": item.id, "status": "ok", "value": [1.0]})
        tracemalloc.start()
        began = time.perf_counter()
        results = compute("bench", extractor, items, schema=SCHEMA, run=RunConfig(cache=work / "driver"))
        results.write(work / f"table{count}", metadata={})
        spent = 1e3 * (time.perf_counter() - began) / count
        peak = tracemalloc.get_traced_memory()[1] / count
        tracemalloc.stop()
        first = first or spent
        note = f"peak {peak:.0f} bytes a row; the yardstick is the smallest number of rows"
        yield Line(f"driver, {count:,} cached rows", spent, first, "ms a row", note)


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
