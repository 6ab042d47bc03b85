"""What every worker of a remote cluster must have and see, asked of all of them before the first item is sent.

Workers that join later are asked by their first item. With other code, other libraries, no cache or no media a worker
would give other numbers, or reasons that are not the film's.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import platform
import socket
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.config import Config
from pipeline.engine.identity import differences, identity
from pipeline.engine.store import Bucket, Folder
from pipeline.errors import InputError

SEEN_SECONDS = 60.0  # how long a network file system may take to show what another machine wrote
_AROUND = ("dask", "distributed", "pyarrow", "pydantic")  # what carries configs and rows between the machines
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SAMPLES = 20  # folders of media of which one file is looked for
_LOOKED_AT = 10_000  # files, so that a million of them cost no time


class Answer(NamedTuple):
    """What a worker says of itself.

    Attributes:
        host: name of its machine.
        lacks: what keeps it from taking part, each with the remedy; empty: nothing.
        reply: name of what it has written to the shared place.
    """

    host: str
    lacks: tuple[str, ...]
    reply: str = ""


@dataclass(frozen=True)
class Needs:
    """What a worker needs to take part in a run.

    Attributes:
        extractor: the extractor's class.
        config: its config, with absolute paths.
        made_by: what the driver computes with, as JSON (`made_by`).
        store: the shared place.
        folder: name of this run's own part of it.
        media: some of the media files with their sizes, in bytes.
        seconds: how long a network file system may take.
    """

    extractor: type
    config: Config
    made_by: str
    store: Folder | Bucket
    folder: str
    media: tuple[tuple[str, int], ...] = ()
    seconds: float = SEEN_SECONDS

    @property
    def token(self) -> str:
        """Name of what the driver has written for the workers to find."""
        return f"{self.folder}/token"


def made_by(extractor: Any, config: Config) -> str:
    """Return as JSON what may change the numbers, and what carries them between the machines.

    Args:
        extractor: the extractor.
        config: what its config is taken for: paths may be written in two ways.
    """
    around = {"python": ".".join(platform.python_version_tuple()[:2])}
    around |= {name: importlib.metadata.version(name) for name in _AROUND}
    return json.dumps({**around, **identity(extractor), "config": config.model_dump(mode="json")})


def some_media(paths: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Return a file of each folder, of the first folders, with its size; those that are not there are passed over."""
    found: dict[Path, tuple[str, int]] = {}
    for path in map(Path, islice(paths, _LOOKED_AT)):
        if len(found) == _SAMPLES:
            break
        if path.parent not in found and path.is_file():
            found[path.parent] = (str(path), path.stat().st_size)
    return tuple(found.values())


@cache
def made(extractor: type, config: Config) -> Any:
    """Return the extractor: one instance a process, as loading a face model for every item would cost more than it."""
    return extractor(config)


@cache
def lacking(needs: Needs) -> Answer:
    """Return what this worker process lacks for a run; asked once a process and run."""
    host = socket.gethostname()
    reply = f"{needs.folder}/reply-{uuid.uuid4().hex}"
    try:
        token = needs.store.wait_for(needs.token, seconds=needs.seconds)
        if token is None:
            unseen = _no_cache(f"does not see {needs.store}/{needs.token}, which the driver has written")
            return Answer(host, (unseen, *_other(needs)))
        needs.store.put(reply, token)
    except (InputError, OSError) as error:
        return Answer(host, (_no_cache(f"fails: {error}"), *_other(needs)))
    return Answer(host, tuple(_other(needs)), reply)


def _other(needs: Needs) -> Iterator[str]:
    try:
        there = made_by(made(needs.extractor, needs.config), needs.config)
        found = differences(json.loads(needs.made_by), json.loads(there))
    except InputError as error:  # such as a model that is not there
        yield f"cannot work: {error}"
    except Exception as error:  # a library that is missing or broken, in whatever way
        yield _no_code(error)
    else:
        if found:
            some = "; ".join(found[:5])
            yield f"would compute other numbers: {some}. Install the same code and versions there (constraints.txt)"
    # Sums over several threads differ in the last bit; a nanny sets these by default.
    if many := [name for name in _THREADS if os.environ.get(name) != "1"]:
        yield f"may sum in several threads. Start it with a nanny (the default), or with {'=1, '.join(many)}=1"
    for path, size in needs.media:
        try:
            there_size = Path(path).stat().st_size
        except OSError as error:
            yield f"cannot see {path} ({error.strerror}). Mount the media there under the same path, readable"
        else:
            if there_size != size:
                yield f"sees another file as {path} ({there_size} bytes, {size} here). Mount the same media there"


def _no_cache(what: str) -> str:
    return (
        f"{what}. run.cache must lie in a folder that all machines of the cluster share, under the same path, or in an "
        "object storage that all of them reach"
    )


async def look(needs: Needs) -> Answer:
    """Return `lacking` of this worker, which goes on answering its scheduler meanwhile."""
    return await asyncio.to_thread(lacking, needs)


def check_workers(client: Any, needs: Needs) -> None:
    """Make sure that every worker of the cluster can take part in a run, before it begins.

    Args:
        client: of the scheduler.
        needs: what is asked of each.

    Raises:
        InputError: some cannot; names each with what it lacks and the remedy.
    """
    needs.store.put(needs.token, uuid.uuid4().hex.encode())
    answers: dict[str, Any] = client.run(look, needs, on_error="return")
    present = client.scheduler_info(n_workers=-1)["workers"]
    wrong: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for address, answer in answers.items():
        if isinstance(answer, BaseException):
            if address not in present:
                continue  # it left meanwhile, as workers may
            answer = Answer("", (_cannot_answer(answer),))
        lacks = answer.lacks
        if answer.reply and needs.store.wait_for(answer.reply, seconds=needs.seconds) is None:
            lacks = (_no_cache(f"has written {needs.store}/{answer.reply}, which is not seen here"), *lacks)
        if lacks:
            wrong.setdefault((answer.host, lacks), []).append(address)
    if wrong:
        lines = [
            f"  {', '.join(where)}{f' on {host}' if host else ''}: the worker {what}"
            for (host, lacks), where in wrong.items()
            for what in lacks
        ]
        share = f"{sum(map(len, wrong.values()))} of {len(answers)} workers"
        raise InputError("\n".join([f"run.scheduler: {share} cannot take part; mend or stop them:", *lines]))


def _cannot_answer(error: BaseException) -> str:
    # Dask hands on the error, or an Exception with its text.
    if any(name in _said(error) for name in ("ImportError", "NotFoundError", "AttributeError")):
        return _no_code(error)
    return f"gave no answer ({_said(error)}). Start it again"


def _no_code(error: BaseException) -> str:
    return f"cannot load the code ({_said(error)}). Install avser there as it is here, with the extra 'pipeline'"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def check_here(needs: Needs) -> None:
    """Make sure that this worker, which may have joined late, can take part in a run.

    Raises:
        InputError: it cannot; says why.
    """
    answer = lacking(needs)
    if answer.lacks:
        raise InputError(f"the worker on {answer.host} {'; it '.join(answer.lacks)}")
