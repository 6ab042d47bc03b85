"""Dask's scheduler and worker without the web server that each of them starts by default."""

from __future__ import annotations

from typing import Any

from distributed import Scheduler, Worker


class NoWeb:
    """Opens no HTTP port: nobody asked for a dashboard, and it would be open to everyone on the machine."""

    def start_http_server(self, *_arguments: Any, **_options: Any) -> None:
        """Start nothing."""


class QuietScheduler(NoWeb, Scheduler):
    """A scheduler that speaks to its own clients and workers only."""


class QuietWorker(NoWeb, Worker):
    """A worker that speaks to its own scheduler only."""
