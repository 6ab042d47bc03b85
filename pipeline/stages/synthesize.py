"""Stage ``synthesize``: make the embedded corpus, but only when a set in params.yaml uses it."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.engine.progress import progress
from pipeline.params import Params
from pipeline.synthetic.corpus import plan, synthesize

FOLDER = Path("data/synthetic")


def run_synthesize(params: Params) -> None:
    """Write ``data/synthetic``; with real corpora in both sets it holds only a note, since nobody needs it."""
    used = [name for name in ("unlabelled", "labelled") if is_synthetic(params.set(name).manifest)]
    if not used:
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        (FOLDER / "NOT_MADE.txt").write_text(
            "No set in params.yaml has its manifest in this folder.\n", encoding="utf-8"
        )
        print("synthetic corpus: not used by params.yaml, not made")
        return
    with progress("synthesize", len(plan(params.synthetic))) as ticker:
        synthesize(
            params.synthetic, FOLDER, workers=params.run.workers, progress=lambda _clip, _done, _total: ticker.advance()
        )


def is_synthetic(path: Path) -> bool:
    """Say whether a manifest is one that this stage makes."""
    return FOLDER.resolve() in path.resolve().parents
