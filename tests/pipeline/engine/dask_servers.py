"""Schedulers and workers of Dask as processes of their own, each in a folder of its own, as on a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import ROOT
from tests.pipeline.engine.test_cluster import free_port


class Servers:
    """One scheduler, and the workers that a test starts.

    Args:
        folder: where their folders are made.
        protocol: tcp or tls.
        environment: further variables of theirs.
    """

    def __init__(self, folder: Path, *, protocol: str = "tcp", environment: dict[str, str] | None = None) -> None:
        self.folder, self.environment = folder, environment or {}
        self.running: list[subprocess.Popen[bytes]] = []
        port = free_port()
        self.address = f"{protocol}://127.0.0.1:{port}"
        self._start("scheduler", "scheduler", "--port", str(port), "--protocol", protocol, code=ROOT)

    def worker(self, name: str, *, code: Path = ROOT) -> subprocess.Popen[bytes]:
        """Start a worker with the code in the folder ``code``."""
        return self._start("worker", name, "--nthreads", "1", self.address, code=code)

    def stop(self) -> None:
        """Kill them all."""
        for server in self.running:
            server.kill()
            server.wait()

    def _start(self, kind: str, name: str, *arguments: str, code: Path) -> subprocess.Popen[bytes]:
        folder = self.folder / f"at-{name}"
        folder.mkdir()
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--host", "127.0.0.1", "--no-dashboard"]
        environment = {**os.environ, "PYTHONPATH": str(code), **self.environment}
        with (folder / "log").open("wb") as log:
            self.running.append(
                subprocess.Popen([*command, *arguments], cwd=folder, env=environment, stdout=log, stderr=log)
            )
        return self.running[-1]
