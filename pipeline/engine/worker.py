"""One item inside a worker process: computed within its time limit and stored; and why a process ended."""

from __future__ import annotations

import faulthandler
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.contracts import OK, QUARANTINED
from pipeline.engine.cache import Cache
from pipeline.errors import InputError, Quarantined


@cache
def _extractor(cls: type, config: Config) -> Any:
    # One instance a process: loading a face model or openSMILE for every item would cost more than the item.
    return cls(config)


def run_item(
    cls: type, config: Config, payload: dict[str, Any], key: str, ids: dict[str, str], *, rows: Cache, timeout: float
) -> str | None:
    """Compute one item and store its row under ``key``; return the reason if the next run should try it again.

    ``ids`` is the row's id column and its value; after ``timeout`` s the process ends itself.
    """
    mark = rows.attempt(key)
    mark.parent.mkdir(parents=True, exist_ok=True)
    # A C-level watchdog: it ends the process even when native code holds the interpreter lock for ever, and says
    # so in the mark, which tells a hang from a crash afterwards.
    with mark.open("w", encoding="utf-8") as sink:
        faulthandler.dump_traceback_later(timeout, exit=True, file=sink)
        try:
            row = {**_extractor(cls, config)(payload), "status": OK}
        except InputError:
            raise  # wrong for every item alike: the driver stops the run
        except Quarantined as reason:
            row = {"status": QUARANTINED, "reason": str(reason)}
        except Exception as error:  # one bad file of any kind must not stop the run
            return f"{type(error).__name__}: {error}"
        finally:
            faulthandler.cancel_dump_traceback_later()
            mark.unlink(missing_ok=True)
    rows.write(key, {**row, **ids})
    return None


def why_killed(mark: Path, timeout: float) -> str:
    """Return why a worker process ended during an item, from the mark that it left; remove the mark."""
    traceback = mark.read_text(encoding="utf-8", errors="replace") if mark.exists() else ""
    mark.unlink(missing_ok=True)
    if traceback.startswith("Timeout"):
        return f"took longer than {timeout:g} s; raise run.item_timeout if the file is sound"
    return "its worker process died (a crash in native code, or out of memory)"
