"""Measure speed and size as ratios to plain yardsticks, all in one run of at most ten minutes.

Prints a table and writes ``reports/bench.json``. A ratio holds where absolute times do not: both sides of
it ran in turn on the same machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from avser.quick import quick
from tests.bench import driver, media, training


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, help="films to measure extraction on; default: those of `avser quick`")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000], help="rows for the driver's cost")
    parser.add_argument("--out", type=Path, default=Path("reports/bench.json"))
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="avser-bench-") as folder:
        work = Path(folder)
        quick(work / "quick")
        films = sorted((options.media or work / "quick/data/synthetic").rglob("*.mp4"))[:24]
        found = [
            *media.lines(films, work),
            *training.lines(work),
            *driver.lines(work, tuple(options.rows)),
            *driver.disk(work / "quick"),
        ]
    table = Table(title=f"{platform.machine()}, {time.monotonic() - began:.0f} s")
    for name in ("what", "ours", "yardstick", "unit", "ratio", "note"):
        table.add_column(name, justify="right" if name in ("ours", "yardstick", "ratio") else "left")
    for line in found:
        other, ratio = ("" if value is None else f"{value:.3g}" for value in (line.other, line.ratio))
        table.add_row(line.what, f"{line.ours:.3g}", other, line.unit, ratio, line.note)
    Console(width=150).print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps([line.row() for line in found], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
