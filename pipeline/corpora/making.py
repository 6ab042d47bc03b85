"""The making of a manifest from a corpus, and what to say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.corpora.base import About, Expected
from pipeline.corpora.readers import make_reader
from pipeline.corpora.reading import first_few
from pipeline.engine.names import expand
from pipeline.errors import InputError
from pipeline.manifest.csv_file import write_manifest
from pipeline.manifest.protocol import check_protocol
from pipeline.manifest.row import ManifestRow
from pipeline.manifest.table import check_manifest, read_rows


@dataclass(frozen=True)
class Summary:
    """What went into a manifest; prints as a few lines."""

    corpus: str
    about: About
    output: Path
    base: Path
    rows: int  #: of this corpus
    total: int  #: in the file, with what was there before
    speakers: int
    emotions: dict[str, int]
    label_source: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """Return the summary as text: counts, terms, what to cite, then a line a note."""
        labelled = sum(self.emotions.values())
        counts = ", ".join(f"{name} {count}" for name, count in self.emotions.items())
        lines = [
            f"{self.output}: {self.rows} clips of {self.corpus}, {self.speakers} speakers"
            + (f" ({self.total} clips in the file)" if self.total != self.rows else ""),
            f"  labelled: {labelled} ({self.label_source}) {counts}" if labelled else "  labelled: none",
            f"  paths start from: {self.base}",
            f"  corpus: {self.about.title}",
            f"  terms: {self.about.terms} - {self.about.source}",
            *([f"  cite: {self.about.cite}"] if self.about.cite else []),
            *(f"  note: {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def make_manifest(
    corpus: str,
    *,
    root: Path,
    output: Path,
    base: Path | None = None,
    append: bool = False,
    options: dict[str, str] | None = None,
) -> Summary:
    """Write the manifest of a corpus and say what is in it, what is missing and what was left out.

    Args:
        corpus: name of the reader.
        root: folder that holds the corpus.
        output: CSV to write.
        base: folder that paths are relative to; default the root.
        append: add the rows to those of ``output``, so that corpora below one base fit in one file.
        options: of the reader, as a command line gives them.

    Raises:
        InputError: an unknown corpus or option, a root that holds no such corpus or lies outside the base, clips that
            are in the manifest already, or a table that ``check_protocol`` refuses. Nothing is written then.
    """
    root, base, output = expand(root), expand(base or root), expand(output)
    reader = make_reader(corpus, options or {})
    try:
        reading = reader.read(root)
    except ValueError as error:  # a number or name in the corpus's own tables that no manifest can hold
        raise InputError(f"{corpus} below {root} cannot be read: {error}") from error
    if not root.resolve().is_relative_to(base.resolve()):
        raise InputError(f"the root {root} is not inside the base {base}; choose a base that holds every corpus")
    below = root.resolve().relative_to(base.resolve())
    rows = [_moved(row, below) for row in reading.rows]
    if not rows:
        raise InputError(f"no clip of {corpus} is left for {output}: {'; '.join(reading.notes) or 'nothing was found'}")
    before = read_rows(output) if append and output.exists() else []
    again = {row.clip_id for row in before} & {row.clip_id for row in rows}
    if again:
        raise InputError(
            f"{output} has {len(again)} of these clips already ({first_few(again)}); write to another file, "
            "or without --append to start it anew"
        )
    everything = [*before, *rows]
    check_protocol({row.clip_id: row for row in everything}, where=str(output))
    write_manifest(everything, output)
    notes = [*reading.notes, *compare(reader.expected(), rows), *_pointer_notes(base, rows)]
    _, problems = check_manifest(output, base)
    if problems:
        notes.append(f"{len(problems)} rows will be quarantined, the first: {problems[0].message}")
    emotions = Counter(row.emotion for row in rows if row.emotion)
    return Summary(
        corpus=corpus,
        about=reader.about,
        output=output,
        base=base,
        rows=len(rows),
        total=len(everything),
        speakers=len({(row.corpus, row.speaker) for row in rows}),
        emotions=dict(emotions.most_common()),
        label_source=", ".join(sorted({row.label_source for row in rows if row.label_source})),
        notes=tuple(notes),
    )


def _moved(row: ManifestRow, below: Path) -> ManifestRow:
    """Return the row with its paths seen from further up."""
    paths = {"path": (below / row.path).as_posix()}
    if row.alignment:
        paths["alignment"] = (below / row.alignment).as_posix()
    return row.model_copy(update=paths)


def _pointer_notes(base: Path, rows: list[ManifestRow]) -> list[str]:
    """Name the files that a clone without Git-LFS left as pointers; their rows stay, for when they are fetched."""
    pointers = []
    for row in rows:
        path = base / row.path
        # A pointer is some 130 bytes: looking at the size first spares opening every film.
        if path.is_file() and path.stat().st_size < 1024:
            with path.open("rb") as stream:
                if stream.read(64).startswith(b"version https://git-lfs"):
                    pointers.append(row.path)
    if not pointers:
        return []
    return [
        f"files that are Git-LFS pointers, not media: {len(pointers)} ({first_few(pointers)}); run `git lfs pull` in "
        "the corpus's repository, their rows are quarantined until then"
    ]


def compare(expected: Expected, rows: Sequence[ManifestRow]) -> list[str]:
    """Return what is missing, or too much, against the published counts."""
    notes = []
    if expected.clips is not None and len(rows) != expected.clips:
        differ = expected.clips - len(rows)
        what = f"{differ} missing" if differ > 0 else f"{-differ} more than published"
        notes.append(f"{len(rows)} of {expected.clips} published clips: {what}")
    # Names with a colon are pseudo speakers, made up where the corpus does not say who speaks.
    speakers = {row.speaker for row in rows if ":" not in row.speaker}
    if isinstance(expected.speakers, int):
        if len(speakers) != expected.speakers:
            notes.append(f"{len(speakers)} of {expected.speakers} published speakers")
    elif expected.speakers is not None:
        missing = [name for name in expected.speakers if name not in speakers]
        if missing:
            first = ", ".join(missing[:12]) + (", ..." if len(missing) > 12 else "")
            notes.append(f"{len(missing)} of {len(expected.speakers)} published speakers have no clip: {first}")
        if unknown := speakers - set(expected.speakers):
            notes.append(f"speakers that are not among the published ones: {first_few(unknown)}")
    return notes
