"""MSP-Face: films from video-sharing sites, one speaker facing the camera; a third of them rated."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from pydantic import Field

from pipeline.corpora.base import About, Corpus, Expected, VideoOptions
from pipeline.corpora.reading import MEDIA, Reading, stem
from pipeline.corpora.votes import count_votes, vote_columns
from pipeline.engine.names import read_text
from pipeline.errors import InputError

NAME = re.compile(r"MSP-FACE_(\d{4})_\d{4}")
#: The letters of all MSP corpora; O (other) and X (no agreement) give no label.
LETTERS = {
    "A": "anger", "S": "sadness", "H": "happiness", "U": "surprise",
    "F": "fear", "D": "disgust", "C": "contempt", "N": "neutral",
}  # fmt: skip
SPLITS = {"train": "train", "development": "dev", "validation": "dev", "dev": "dev", "test": "test"}


class MspFaceOptions(VideoOptions):
    """Options of ``msp_face``."""

    clips: Literal["all", "labelled", "unlabelled"] = Field("all", description="all, labelled or unlabelled")
    split: Literal["published", "none"] = Field("published", description="published, or none to leave split empty")


class MspFace(Corpus[MspFaceOptions]):
    """The films as its download script cuts them, and its repository's ``Labels`` and ``Doc`` below the same root."""

    about = About(
        "MSP-Face corpus",
        "https://github.com/3loi/MSP_Face",
        "labels and links are public; each film stays under the terms of its site and uploader",
        "Vidal, Salman, Lin & Busso, ICMI 2020",
    )
    name = "MSP-Face"
    example = "MSP-FACE_0001_0001.mp4"
    Options = MspFaceOptions

    def fill(self, reading: Reading) -> None:
        """Add a row a segment; attributes are means on a scale of 1 to 7."""
        codes = reading.match(reading.files(MEDIA[self.options.media]), NAME, unmatched="")
        labels = _json_table(reading, "label_consensus.json", "labels_consensus.json", "labels_concensus.json")
        details = _json_table(reading, "label_detailed.json", "labels_detailed.json")
        speakers = _speakers(reading)
        nameless = 0
        for path, (recording,) in reading.first_of_each(codes).items():
            clip = stem(path)
            label = labels.get(clip, {})
            if self.options.clips != "all" and bool(label) != (self.options.clips == "labelled"):
                continue
            speaker = str(label.get("SpkrID") or speakers.get(clip, ""))
            nameless += not speaker
            part = str(label.get("Split_Set", "")).lower() if self.options.split == "published" else ""
            answers = [worker.get("EmoClass_Major", "") for worker in details.get(clip, {}).get("Workers", [])]
            reading.add(
                "msp_face",
                clip,
                path,
                speaker=speaker.removeprefix("Speaker_") or f"recording:{recording}",
                split=SPLITS.get(part, ""),
                emotion=LETTERS.get(str(label.get("EmoClass_Major", "")), ""),
                label_source="audiovisual" if label else "",
                label_rule="plurality" if label else "",
                arousal=label.get("EmoAct"),
                valence=label.get("EmoVal"),
                dominance=label.get("EmoDom"),
                language="en",
                **(vote_columns(count_votes(answers, LETTERS.values())) if answers else {}),
            )
        if not labels:
            reading.notes.append("no Labels/label_consensus.json below the root: all clips are unlabelled")
        reading.note(nameless, "clips without a known speaker: each recording counts as one")

    def expected(self) -> Expected:
        """Return the published counts; films vanish from the sites, so fewer are common."""
        return {"all": Expected(27325, 491), "labelled": Expected(9370), "unlabelled": Expected(17955)}[
            self.options.clips
        ]


def _speakers(reading: Reading) -> dict[str, str]:
    table = reading.table("speaker_id_segments.txt")
    lines = read_text(table).splitlines() if table else []
    pairs = (line.split(",") for line in lines if "," in line)
    return {stem(clip.strip()): speaker.strip() for clip, speaker, *_ in pairs}


def _json_table(reading: Reading, *names: str) -> dict[str, dict[str, Any]]:
    path = reading.table(*names)
    if path is None:
        return {}
    try:
        table = json.loads(read_text(path))
        entries = {key: value[0] if isinstance(value, list) else value for key, value in table.items()}
    except (ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{path} is not MSP-Face's label table ({error}); fetch it anew") from None
    return {stem(clip): entry for clip, entry in entries.items()}
