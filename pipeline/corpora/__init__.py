"""Readers of corpora as they lie on disk, by name, and the making of a manifest from one of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from pipeline.config import Config
from pipeline.corpora.base import About, Corpus, Expected, Reading, compare, some
from pipeline.corpora.columns import Csv
from pipeline.corpora.crema_d import CremaD
from pipeline.corpora.emodb import EmoDb
from pipeline.corpora.folder import Folder
from pipeline.corpora.grid import Grid
from pipeline.corpora.iemocap import Iemocap
from pipeline.corpora.lrs import Lrs
from pipeline.corpora.meld import Meld
from pipeline.corpora.msp_face import MspFace
from pipeline.corpora.msp_improv import MspImprov
from pipeline.corpora.msp_podcast import MspPodcast
from pipeline.corpora.ravdess import Ravdess
from pipeline.corpora.savee import Savee
from pipeline.corpora.tess import Tess
from pipeline.corpora.voxceleb import VoxCeleb
from pipeline.errors import InputError
from pipeline.manifest.row import ManifestRow, suggestion
from pipeline.manifest.table import check_manifest, check_protocol, read_rows, write_manifest

__all__ = ["CORPORA", "About", "Corpus", "Expected", "Reading", "Summary", "make_manifest", "read_corpus"]

CORPORA: dict[str, type[Corpus]] = {
    "crema_d": CremaD,
    "csv": Csv,
    "emodb": EmoDb,
    "folder": Folder,
    "grid": Grid,
    "iemocap": Iemocap,
    "lrs": Lrs,
    "meld": Meld,
    "msp_face": MspFace,
    "msp_improv": MspImprov,
    "msp_podcast": MspPodcast,
    "ravdess": Ravdess,
    "savee": Savee,
    "tess": Tess,
    "voxceleb": VoxCeleb,
}


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
    emotions: dict[str, int] = field(default_factory=dict)
    label_source: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the summary as text: counts, terms, then a line a note."""
        labelled = sum(self.emotions.values())
        counts = ", ".join(f"{name} {count}" for name, count in self.emotions.items())
        lines = [
            f"{self.output}: {self.rows} clips of {self.corpus}, {self.speakers} speakers"
            + (f" ({self.total} clips in the file)" if self.total != self.rows else ""),
            f"  labelled: {labelled} ({self.label_source}) {counts}" if labelled else "  labelled: none",
            f"  paths start from: {self.base}",
            f"  terms: {self.about.terms} - {self.about.source}",
            *(f"  note: {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def make_reader(name: str, options: dict[str, str]) -> Corpus[Config]:
    """Return the reader of a corpus with options as a command line gives them.

    Raises ``InputError`` for an unknown corpus or option, or a value that the option does not take.
    """
    if name not in CORPORA:
        raise InputError(f"unknown corpus {name!r}{suggestion(name, CORPORA)}; known: {', '.join(CORPORA)}")
    kind = CORPORA[name]
    known = kind.Options.model_fields
    for key in options:
        if key not in known:
            help_text = "; ".join(f"{n} ({f.description})" for n, f in known.items()) or "none"
            raise InputError(f"corpus {name} has no option {key!r}{suggestion(key, known)}. Options: {help_text}")
    try:
        return kind(kind.Options.model_validate(options))
    except ValidationError as error:
        faults = "; ".join(f"{e['loc'][0] if e['loc'] else 'options'}: {e['msg']}" for e in error.errors())
        raise InputError(f"corpus {name}, option {faults}") from None


def read_corpus(corpus: str, root: Path, /, **options: str) -> list[ManifestRow]:
    """Return the rows of a corpus, paths relative to ``root``; see ``make_reader`` for errors."""
    return make_reader(corpus, options).read(Path(root)).rows


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

    Paths are written relative to ``base`` (default: ``root``), so that corpora below one base fit in one file;
    with ``append`` the rows are added to those of ``output``.

    Raises ``InputError`` for an unknown corpus or option, a root that holds no such corpus or lies outside the
    base, clips that are in the manifest already, and a table that ``check_protocol`` refuses. Nothing is written then.
    """
    root, base, output = Path(root), Path(base or root), Path(output)
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
            f"{output} has {len(again)} of these clips already ({some(again)}); write to another file, "
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
        f"files that are Git-LFS pointers, not media: {len(pointers)} ({some(pointers)}); run `git lfs pull` in the "
        "corpus's repository, their rows are quarantined until then"
    ]
