"""Finished runs are kept, and a killed command goes on where it stopped."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.trainer.conftest import digest, flip, labelled_rows
from trainer.errors import InputError
from trainer.finetuning.finetune import finetune
from trainer.params import Params

Make = Callable[..., Path]
Tiny = Callable[..., Params]


def test_a_finished_run_is_not_computed_again(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    first = run("home", modes=["scratch"])
    finished = tmp_path / "home" / "cache" / "units"
    stamps = {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}
    again = run("home", modes=["scratch"])
    pd.testing.assert_frame_equal(first, again)
    assert {path.name: path.stat().st_mtime_ns for path in finished.iterdir()} == stamps
    run("home", modes=["scratch"], seeds=[0, 1])  # one more seed: three more folds, the others stay
    assert len(list(finished.iterdir())) == 6
    run("home", modes=["scratch"], lr=0.02)  # another number: nothing old is used
    assert len(list(finished.iterdir())) == 9


def test_an_interrupted_run_resumes(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    params = tiny(finetune={"modes": ["scratch"], "folds": 4})
    labelled, finished = make_shards("labelled", labelled_rows()), tmp_path / "cache" / "units"
    places = (tmp_path / "none", tmp_path / "models", tmp_path / "reports")

    def interrupt(name: str) -> None:
        if "fold 2" in name:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(labelled, *places, params, cache=tmp_path / "cache", on_run=interrupt)
    assert len(list(finished.iterdir())) == 2
    assert not places[2].exists()
    started: list[int] = []
    finetune(labelled, *places, params, cache=tmp_path / "cache", on_start=lambda *counts: started.extend(counts))
    assert started == [4, 2]


@pytest.mark.parametrize("name", ["metrics.json", "predictions.npy", "model.safetensors", "history.csv", "SHA256SUMS"])
def test_a_finished_run_that_was_damaged_is_trained_again(
    run: Callable[..., pd.DataFrame], tmp_path: Path, name: str
) -> None:
    first = run("home", modes=["scratch"], epochs=1)
    finished = sorted((tmp_path / "home" / "cache" / "units").iterdir())
    whole = digest(tmp_path / "home")
    flip(finished[0] / name)
    (finished[1] / name).write_bytes(b"")
    (finished[2] / name).unlink()
    pd.testing.assert_frame_equal(first, run("home", modes=["scratch"], epochs=1))
    assert digest(tmp_path / "home") == whole


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bytes_whatever_the_workers(
    make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    params = tiny(finetune={"modes": ["scratch"], "folds": 6})
    labelled = make_shards("labelled", labelled_rows())

    def go(home: Path, workers: int) -> None:
        finetune(
            labelled, home / "none", home / "models", home / "reports", params, cache=home / "cache", workers=workers
        )

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    go(undisturbed, workers=1)
    code = (
        "import sys; from trainer.finetuning.finetune import finetune; from trainer.params import Params;"
        "h = sys.argv[1]; params = Params.model_validate_json(sys.argv[3]);"
        "finetune(sys.argv[2], 'none', h + '/models', h + '/reports', params, cache=h + '/cache', workers=2)"
    )
    arguments = [sys.executable, "-c", code, str(killed), str(labelled), params.model_dump_json()]
    process = subprocess.Popen(arguments, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list((killed / "cache" / "units").glob("[!.]*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 1 <= len(list((killed / "cache" / "units").glob("[!.]*"))) < 6
    assert not (killed / "reports").exists()
    go(killed, workers=2)
    for part in ("models", "reports"):
        assert digest(killed / part) == digest(undisturbed / part)


def test_a_killed_worker_is_an_error_and_not_a_hang(run: Callable[..., pd.DataFrame]) -> None:
    def kill_first_child() -> None:
        while not multiprocessing.active_children():
            time.sleep(0.01)
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)

    killer = threading.Thread(target=kill_first_child, daemon=True)
    killer.start()
    with pytest.raises(InputError, match="a worker process died"):
        run("home", modes=["scratch"], folds=6, workers=2)
    killer.join()
