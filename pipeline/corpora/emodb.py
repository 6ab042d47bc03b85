"""EmoDB (Berlin database of emotional speech): ten actors, ten sentences, seven emotions, German."""

from __future__ import annotations

import re

from pipeline.config import Config
from pipeline.corpora.base import About, Corpus, Expected
from pipeline.corpora.reading import AUDIO, Reading, stem

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
    name = "EmoDB"
    example = "wav/03a01Fa.wav"

    def fill(self, reading: Reading) -> None:
        """Add a row an utterance, labelled with the acted emotion."""
        codes = reading.match(reading.files(AUDIO), NAME)
        for path, (speaker, text, emotion, _) in reading.first_of_each(codes).items():
            reading.add(
                "emodb",
                stem(path),
                path,
                speaker=speaker,
                emotion=_EMOTIONS[emotion],
                label_source="acted",
                sentence=_SENTENCES.get(text, text),
                language="de",
            )

    def expected(self) -> Expected:
        """Return the counts of the published selection (recognised by 80 % or more of the listeners)."""
        return Expected(535, SPEAKERS)
