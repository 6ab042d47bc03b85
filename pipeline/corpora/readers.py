"""The readers by name; a new one gets a line in ``CORPORA``."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from pipeline.config import Config
from pipeline.corpora.base import Corpus
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


def make_reader(name: str, options: dict[str, str]) -> Corpus[Config]:
    """Return the reader of a corpus with options as a command line gives them.

    Raises:
        InputError: an unknown corpus or option, or a value that the option does not take.
    """
    if name not in CORPORA:
        raise InputError(f"unknown corpus {name!r}; known: {', '.join(CORPORA)}")
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
    """Return the rows of a corpus, paths relative to ``root``; see `make_reader` for errors."""
    return make_reader(corpus, options).read(Path(root)).rows
