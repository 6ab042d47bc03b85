"""The stages on a cluster of separate processes, as docs/dask.md has it: tables are those of a local run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from distributed import Client

from tests import ROOT, SHARED
from tests.pipeline.engine.dask_servers import Servers

pytestmark = pytest.mark.slow

TINY = {"unlabelled_speakers": 2, "clips_per_speaker": 1, "dev_speakers": 1, "labelled_speakers": 2,
        "utterances_per_speaker": 4, "folds": 2, "size": 128, "labelled_films": False}  # fmt: skip
PAGE = (ROOT / "docs/dask.md").read_text(encoding="utf-8")


def pipeline(folder: Path, *arguments: str, **environment: str) -> str:
    """Run a stage in ``folder``; return what it says."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "pipeline", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 2), done.stderr[-2000:]
    return done.stdout + done.stderr


def set_params(folder: Path, **sections: dict[str, Any]) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, values in sections.items():
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with a tiny corpus and nothing else."""
    folder = tmp_path_factory.mktemp("flow") / "films"
    folder.mkdir()
    set_params(folder, synthetic=TINY)
    pipeline(folder, "synthesize")
    return folder


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    started = Servers(tmp_path)
    yield started
    started.stop()


def tables(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in (folder / "data").rglob("*.parquet") if "synthetic" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def models(folder: Path) -> dict[str, dict[str, Any]]:
    """Put the models that are at hand into the project; return parameters with their relative paths."""
    chosen: dict[str, dict[str, Any]] = {}
    try:
        from tests.pipeline.acoustics.test_speech_model import make
    except pytest.skip.Exception:
        pass
    else:
        make(folder / "models/speech")
        chosen["acoustics"] = {"speech_model": {"path": "models/speech", "layer": 1}}
    task = SHARED / "models" / "face_landmarker.task"
    if task.is_file():
        shutil.copy(task, folder / "models")
        chosen["faces"] = {"backend": "blendshapes", "blendshapes_model": "models/face_landmarker.task"}
    return chosen


def test_every_stage_gives_the_table_of_a_local_run(films: Path, servers: Servers, tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    for folder in (near, far):
        shutil.copytree(films, folder)
        (folder / "models").mkdir()
    chosen = models(near)
    shutil.copytree(near / "models", far / "models", dirs_exist_ok=True)
    set_params(near, synthetic=TINY, **chosen)
    set_params(far, synthetic=TINY, run={"scheduler": servers.address}, **chosen)
    for name in ("first", "second"):
        servers.worker(name)
    with Client(servers.address) as client:
        client.wait_for_workers(2)
    for stage in ("segments", "audio", "acoustics", "functionals", "faces"):
        for folder in (near, far):
            assert f"{stage} unlabelled: 2 of 2 ok" in pipeline(folder, stage, "unlabelled")
    assert {Path(name).parts[1] for name in tables(far)} == {"segments", "audio", "acoustics", "functionals", "faces"}
    assert tables(far) == tables(near)
    assert not [path for path in tmp_path.glob("at-*/**/*") if ".cache" in path.parts or path.suffix == ".row"]
    keys = [sorted(path.name for path in folder.rglob(".cache/**/*.row")) for folder in (near, far)]
    assert keys[0] == keys[1]


def shell(pattern: str) -> str:
    """Return the first block of shell commands of the page that holds ``pattern``."""
    return next(block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if pattern in block)


def test_a_cluster_with_tls_as_documented(films: Path, tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("no openssl")
    home, folder = tmp_path / "home", tmp_path / "far"
    home.mkdir()
    shutil.copytree(films, folder)
    subprocess.run(shell("openssl"), shell=True, env={**os.environ, "HOME": str(home)}, check=True, capture_output=True)
    assert (home / "dask/me.key").stat().st_mode & 0o077 == 0
    config = next(block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "require-encryption" in block)
    (home / "dask/dask.yaml").write_text(config.replace("/home/me", str(home)))
    closed = {"DASK_CONFIG": str(home / "dask")}
    servers = Servers(tmp_path, protocol="tls", environment=closed)
    try:
        servers.worker("first")
        set_params(folder, synthetic=TINY, run={"scheduler": servers.address})
        stranger = pipeline(folder, "segments", "unlabelled")  # without the certificate
        assert "export DASK_CONFIG" in stranger
        assert "Traceback" not in stranger
        assert "2 of 2 ok" in pipeline(folder, "segments", "unlabelled", **closed)
    finally:
        servers.stop()
