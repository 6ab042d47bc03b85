"""EmoDB (Berlin database of emotional speech): ten actors, ten sentences, seven emotions, German."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from pipeline.config import Config
from pipeline.corpora.base import (
    AUDIO,
    About,
    Corpus,
    Expected,
    Reading,
    find_files,
    first_of_each,
    nothing_found,
)
from pipeline.manifest.row import ManifestRow

NAME = re.compile(r"(\d{2})([ab]\d{2})([WLEAFTN])([a-z]?)")
# The letters stand for the German words: Wut, Langeweile, Ekel, Angst, Freude, Trauer.
_EMOTIONS = {
    "W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness", "N": "neutral",
}  # fmt: skip
_SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
SPEAKERS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")


class EmoDb(Corpus[Config]):
    """Names such as ``03a01Fa.wav``: speaker, text, emotion, version."""

    about = About(
        "EmoDB, Berlin database of emotional speech",
        "http://emodb.bilderbar.info",
        "free to download; cite the paper",
        "Burkhardt, Paeschke, Rolfes, Sendlmeier & Weiss, Interspeech 2005",
    )

    def read(self, root: Path) -> Reading:
        """Return a row an utterance, labelled with the acted emotion."""
        reading = Reading()
        paths = find_files(root, AUDIO, reading)
        named = [path for path in paths if NAME.fullmatch(PurePosixPath(path).stem)]
        reading.left_out(set(paths) - set(named), "the name is not EmoDB's")
        if not named:
            raise nothing_found("EmoDB", root, "wav/03a01Fa.wav")
        for path in first_of_each(named, reading):
            stem = PurePosixPath(path).stem
            match = NAME.fullmatch(stem)
            assert match is not None
            speaker, text, emotion, _ = match.groups()
            reading.rows.append(
                ManifestRow(
                    clip_id=f"emodb_{stem}",
                    corpus="emodb",
                    path=path,
                    speaker=speaker,
                    emotion=_EMOTIONS[emotion],
                    label_source="acted",
                    sentence=_SENTENCES.get(text, text),
                    language="de",
                )
            )
        return reading

    def expected(self) -> Expected:
        """Return the counts of the published selection (recognised by 80 % or more of the listeners)."""
        return Expected(535, SPEAKERS)
