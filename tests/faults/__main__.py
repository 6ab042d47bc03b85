"""Try random faults and count what was lost or false; both must be 0. Bounded in time."""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import extraction, training
from tests.faults.project import Project


def main() -> int:
    """Run the trials of both halves side by side; return 1 if anything was lost or false."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200, help="faults to try at least, if the time allows")
    parser.add_argument("--minutes", type=float, default=9.0, help="no trial starts later")
    parser.add_argument("--seed", type=int, default=None, help="of all draws; default: a new one, printed")
    options = parser.parse_args()
    seed = random.randrange(2**31) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    until = time.monotonic() + 60 * options.minutes
    counts: Counter[str] = Counter()
    lock = threading.Lock()
    with tempfile.TemporaryDirectory(prefix="avser-faults-") as folder:
        reference = Project.make(Path(folder) / "reference")
        for half in (extraction, training):
            half.prepare(reference)

        def lane(half: object, name: str, share: float) -> None:
            draw = random.Random(f"{seed} {name}")
            work = Path(folder) / name
            while time.monotonic() < until:
                with lock:
                    if counts[f"trials {name}"] >= share * options.trials:
                        return
                for trial in half.trial(reference, work, draw):  # type: ignore[attr-defined]
                    with lock:
                        counts.update({f"trials {name}": 1, "trials": 1, trial.outcome: 1, f"  {trial.kind}": 1})
                        if trial.outcome != "survived":
                            print(f"{trial.outcome}: {trial.kind}: {trial.note}", flush=True)

        with ThreadPoolExecutor(2) as pool:
            lanes = [pool.submit(lane, extraction, "extraction", 0.6), pool.submit(lane, training, "training", 0.4)]
            for one in lanes:
                one.result()
    for kind in sorted(key for key in counts if key.startswith("  ")):
        print(f"{kind}: {counts[kind]}")
    print(", ".join(f"{name} {counts[name]}" for name in ("trials", "survived", "lost", "false")), flush=True)
    if counts["trials"] < options.trials:
        print(f"a slow machine: {options.trials} trials do not fit into {options.minutes:g} minutes")
    return int(bool(counts["lost"] or counts["false"]))


if __name__ == "__main__":
    raise SystemExit(main())
