"""MSP-Podcast: spontaneous speech from podcasts, rated by listeners."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field

from pipeline.config import Config
from pipeline.corpora.base import About, Corpus
from pipeline.corpora.msp_face import LETTERS, SPLITS
from pipeline.corpora.reading import Reading, one_line, stem
from pipeline.corpora.tables import read_columns
from pipeline.corpora.votes import count_votes, vote_columns
from pipeline.engine.names import read_text

_COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Split_Set")


class MspPodcastOptions(Config):
    """Options of ``msp_podcast``."""

    test: str = Field("Test1", description="which partitions become the test set, separated by commas")
    split: Literal["published", "none"] = Field("published", description="published, or none to leave split empty")


class MspPodcast(Corpus[MspPodcastOptions]):
    """``Audios`` with wav files, ``Labels/labels_consensus.csv``, and if present the detailed labels, transcripts."""

    about = About(
        "MSP-Podcast corpus",
        "https://www.lab-msp.com",
        "licence agreement with the University of Texas at Dallas; academic and commercial kinds",
        "Lotfian & Busso, IEEE Trans. Affective Computing 10(4) (2019)",
    )
    name = "MSP-Podcast"
    example = "Labels/labels_consensus.csv"
    Options = MspPodcastOptions

    def fill(self, reading: Reading) -> None:
        """Add a row a speaking turn; attributes are means on a scale of 1 to 7; raters heard voices only."""
        table = reading.table("labels_consensus.csv", "labels_concensus.csv")
        if table is None:
            raise reading.nothing_found()
        files = {PurePosixPath(path).name: path for path in reading.files({".wav"})}
        transcripts = {stem(path): path for path in reading.files({".txt"}) if re.fullmatch(r"Transcripts/[^/]+", path)}
        answers = _answers(reading)
        tests = {name.strip().lower() for name in self.options.test.split(",")}
        skipped: Counter[str] = Counter()
        missing, unknown = [], 0
        for record in read_columns(table, *_COLUMNS, corpus="MSP-Podcast"):
            name, part = record["FileName"], record["Split_Set"].lower()
            split = "test" if part in tests else SPLITS.get(part, "")
            if not split:
                skipped[record["Split_Set"]] += 1
                continue
            if name not in files:
                missing.append(name)
                continue
            clip = stem(name)
            speaker = record["SpkrID"]
            if speaker.lower() in ("", "unknown"):
                # The corpus keeps clips of speakers not yet identified in Train, so this cannot hide a leak.
                speaker = f"recording:{clip.split('_')[1]}"
                unknown += 1
            reading.add(
                "msp_podcast",
                clip,
                files[name],
                speaker=speaker,
                split=split if self.options.split == "published" else "",
                emotion=LETTERS.get(record["EmoClass"], ""),
                label_source="voice",
                label_rule="plurality",
                arousal=_number(record["EmoAct"]),
                valence=_number(record["EmoVal"]),
                dominance=_number(record["EmoDom"]),
                sentence=one_line(read_text(reading.root / transcripts[clip])) if clip in transcripts else "",
                language="en",
                **(vote_columns(count_votes(answers[name], LETTERS.values())) if name in answers else {}),
            )
        reading.left_out(missing, "in the table but not on disk")
        for part, count in sorted(skipped.items()):
            reading.notes.append(f"{count} clips of {part} left out; choose the test partitions with --option test=...")
        reading.note(unknown, "clips without a known speaker: each podcast counts as one")


def _answers(reading: Reading) -> dict[str, list[str]]:
    table = reading.table("labels_detailed.csv")
    answers: dict[str, list[str]] = defaultdict(list)
    for record in read_columns(table, "FileName", "EmoClass_Major", corpus="MSP-Podcast") if table else []:
        answers[record["FileName"]].append(record["EmoClass_Major"])
    return answers


def _number(text: str) -> float | None:
    return float(text) if text and text.lower() != "nan" else None
