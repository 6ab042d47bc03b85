"""MELD: utterances from a television series, rated from film, sound and text."""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath

from pipeline.config import Config
from pipeline.corpora.base import (
    About,
    Corpus,
    Expected,
    Reading,
    find_files,
    find_table,
    nothing_found,
    one_line,
    read_text,
)
from pipeline.corpora.votes import SPELLINGS
from pipeline.errors import InputError
from pipeline.manifest.row import ManifestRow

# Part -> table, and the folder of its films once MELD.Raw is unpacked.
PARTS = {
    "train": ("train_sent_emo.csv", "train_splits"),
    "dev": ("dev_sent_emo.csv", "dev_splits_complete"),
    "test": ("test_sent_emo.csv", "output_repeated_splits_test"),
}
#: Known bad: the film cannot be decoded.
BROKEN = frozenset({("train", "dia125_utt3")})


class Meld(Corpus[Config]):
    """The unpacked ``MELD.Raw``. ``split`` stays empty: the published parts share their speakers."""

    about = About(
        "MELD, multimodal EmotionLines dataset",
        "https://affective-meld.github.io",
        "annotations under GPL-3.0; the films are excerpts of a television series",
        "Poria, Hazarika, Majumder, Naik, Cambria & Mihalcea, ACL 2019",
    )

    def read(self, root: Path) -> Reading:
        """Return a row an utterance."""
        reading = Reading()
        films: dict[tuple[str, str], str] = {}
        for path in find_files(root, {".mp4"}, reading):
            pure = PurePosixPath(path)
            films[(pure.parent.name, pure.stem)] = path
        missing, broken, tables = [], [], 0
        for part, (name, folder) in PARTS.items():
            table = find_table(root, name)
            if table is None:
                reading.notes.append(f"no {name} below the root: the {part} part is left out")
                continue
            tables += 1
            for record in csv.DictReader(io.StringIO(read_text(table))):
                try:
                    turn = f"dia{record['Dialogue_ID']}_utt{record['Utterance_ID']}"
                    speaker, emotion, text = record["Speaker"], record["Emotion"], record["Utterance"]
                except KeyError as error:
                    raise InputError(f"{table}: no column {error}; is it MELD's table?") from None
                if (part, turn) in BROKEN:
                    broken.append(f"{part} {turn}")
                elif (folder, turn) not in films:
                    missing.append(f"{part} {turn}")
                else:
                    reading.rows.append(
                        ManifestRow(
                            clip_id=f"meld_{part}_{turn}",
                            corpus="meld",
                            path=films[(folder, turn)],
                            speaker=one_line(speaker) or f"clip:{part}_{turn}",
                            emotion=SPELLINGS.get(emotion.strip().lower(), ""),
                            label_source="audiovisual",
                            label_rule="majority",
                            sentence=one_line(text),
                            language="en",
                        )
                    )
        if not tables:
            raise nothing_found("MELD", root, "train_sent_emo.csv")
        reading.left_out(missing, "in the table but not on disk")
        reading.left_out(broken, "known bad")
        reading.notes.append("split left empty: the series' main cast is in all published parts; use folds by speaker")
        return reading

    def expected(self) -> Expected:
        """Return the published number of utterances (train 9989, dev 1109, test 2610)."""
        return Expected(9989 + 1109 + 2610)
