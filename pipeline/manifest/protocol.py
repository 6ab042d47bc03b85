"""What would make results meaningless: speakers on both sides of a split, labels of different kinds in one corpus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import InputError
from pipeline.manifest.row import ManifestRow


def check_protocol(rows: Mapping[str, ManifestRow], *, where: str) -> None:
    """Refuse leaking speakers, and label sources or rules that are mixed in one corpus.

    Args:
        rows: keyed by how a message calls them.
        where: the table, for the message.

    Raises:
        InputError: names the speaker or the corpus.
    """
    for column in ("split", "fold"):
        leaks = _conflicts(rows, lambda row: (row.corpus, row.speaker), column)
        for (corpus, speaker), found in leaks.items():
            more = f" ({len(leaks)} speakers do so)" if len(leaks) > 1 else ""
            raise InputError(
                f"{where}: speaker {speaker!r} of {corpus} is in {column} {found}{more}; a speaker heard in training "
                f"makes the test meaningless. Give each speaker one {column}, or leave the column empty"
            )
    for column in ("label_source", "label_rule"):
        for corpus, found in _conflicts(rows, lambda row: row.corpus, column).items():
            raise InputError(f"{where}: {corpus} mixes the {column} {found}; make one manifest for each")


def _conflicts(rows: Mapping[str, ManifestRow], key: Callable[[ManifestRow], Any], column: str) -> dict[Any, str]:
    """Return, for each key whose rows differ in ``column``, its values and where each is first found."""
    seen: dict[Any, dict[str, str]] = {}
    for name, row in rows.items():
        if value := getattr(row, column):
            seen.setdefault(key(row), {}).setdefault(value, name)
    return {
        group: " and ".join(f"{value!r} ({name})" for value, name in places.items())
        for group, places in seen.items()
        if len(places) > 1
    }
