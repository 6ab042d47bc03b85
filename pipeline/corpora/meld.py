"""MELD: utterances from a television series, rated from film, sound and text."""

from __future__ import annotations

from pathlib import PurePosixPath

from pipeline.config import Config
from pipeline.corpora.base import About, Corpus, Expected
from pipeline.corpora.reading import Reading, one_line
from pipeline.corpora.tables import read_columns
from pipeline.corpora.votes import SPELLINGS

# Part -> table, and the folder of its films once MELD.Raw is unpacked.
PARTS = {
    "train": ("train_sent_emo.csv", "train_splits"),
    "dev": ("dev_sent_emo.csv", "dev_splits_complete"),
    "test": ("test_sent_emo.csv", "output_repeated_splits_test"),
}
_COLUMNS = ("Dialogue_ID", "Utterance_ID", "Speaker", "Emotion", "Utterance")
#: Known bad: the film cannot be decoded.
BROKEN = frozenset({("train", "dia125_utt3")})
#: Known bad: wrongly cut, minutes of other speech under the label of one utterance.
MINUTES = frozenset({("test", "dia38_utt4"), ("test", "dia220_utt0")})


class Meld(Corpus[Config]):
    """The unpacked ``MELD.Raw``. ``split`` stays empty: the published parts share their speakers."""

    about = About(
        "MELD, multimodal EmotionLines dataset",
        "https://affective-meld.github.io",
        "annotations under GPL-3.0; the films are excerpts of a television series",
        "Poria, Hazarika, Majumder, Naik, Cambria & Mihalcea, ACL 2019",
    )
    name = "MELD"
    example = "train_sent_emo.csv"

    def fill(self, reading: Reading) -> None:
        """Add a row an utterance."""
        films: dict[tuple[str, str], str] = {}
        for path in reading.files({".mp4"}):
            pure = PurePosixPath(path)
            films[(pure.parent.name, pure.stem)] = path
        missing, broken, minutes, tables = [], [], [], 0
        for part, (name, folder) in PARTS.items():
            table = reading.table(name)
            if table is None:
                reading.notes.append(f"no {name} below the root: the {part} part is left out")
                continue
            tables += 1
            for record in read_columns(table, *_COLUMNS, corpus="MELD"):
                turn = f"dia{record['Dialogue_ID']}_utt{record['Utterance_ID']}"
                if (part, turn) in BROKEN:
                    broken.append(f"{part} {turn}")
                elif (part, turn) in MINUTES:
                    minutes.append(f"{part} {turn}")
                elif (folder, turn) not in films:
                    missing.append(f"{part} {turn}")
                else:
                    reading.add(
                        "meld",
                        f"{part}_{turn}",
                        films[(folder, turn)],
                        speaker=one_line(record["Speaker"]) or f"clip:{part}_{turn}",
                        emotion=SPELLINGS.get(record["Emotion"].lower(), ""),
                        label_source="audiovisual",
                        label_rule="majority",
                        sentence=one_line(record["Utterance"]),
                        language="en",
                    )
        if not tables:
            raise reading.nothing_found()
        reading.left_out(missing, "in the table but not on disk")
        reading.left_out(broken, "known bad")
        reading.left_out(minutes, "known bad: cut wrongly, minutes instead of one utterance")
        reading.notes.append("split left empty: the series' main cast is in all published parts; use folds by speaker")

    def expected(self) -> Expected:
        """Return the published number of utterances (train 9989, dev 1109, test 2610)."""
        return Expected(9989 + 1109 + 2610)
