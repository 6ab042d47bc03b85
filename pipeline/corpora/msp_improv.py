"""MSP-IMPROV: twelve actors in six dyadic sessions; target sentences improvised and read, and natural talk."""

from __future__ import annotations

import re
from typing import Any

from pipeline.corpora.base import About, AudioOptions, Corpus, Expected
from pipeline.corpora.reading import Reading
from pipeline.corpora.votes import label_from_votes, vote_columns
from pipeline.engine.names import read_text

# sentence, intended emotion - speaker (sex, session) - scenario - turn; sound is MSP-..., film and labels are UTD-...
NAME = re.compile(r"(?:MSP|UTD)-IMPROV-(S\d\d[AHNS]-([FM]\d\d)-[PRST]-[FM]{2}\d\d\d?)")
_LETTERS = {"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"}
SPEAKERS = tuple(f"{sex}{number:02d}" for sex in "FM" for number in range(1, 7))


class MspImprov(Corpus[AudioOptions]):
    """``session1/S01A/R/*.wav`` (and ``*.avi``) with ``Evalution.txt``, spelt so in the release."""

    about = About(
        "MSP-IMPROV corpus",
        "https://www.lab-msp.com",
        "licence agreement with the University of Texas at Dallas",
        "Busso, Parthasarathy, Burmania, AbdelWahab, Sadoughi & Mower Provost, "
        "IEEE Trans. Affective Computing 8(1) (2017)",
    )
    name = "MSP-IMPROV"
    example = "session1/S01A/R/MSP-IMPROV-S01A-F01-R-FF01.wav"
    Options = AudioOptions

    def fill(self, reading: Reading) -> None:
        """Add a row a turn; fold is the session; attributes are means on a scale of 1 to 5."""
        suffixes = {".wav"} if self.options.media == "audio" else {".avi", ".mp4"}
        codes = reading.match(reading.files(suffixes), NAME, unmatched="")
        labels, votes = _evaluation(reading)
        for path, (turn, speaker) in reading.first_of_each(codes, lambda path: codes[path][0]).items():
            consensus, attributes = labels.get(turn, ("", {}))
            chosen = votes.get(turn, {})
            reading.add(
                "msp_improv",
                turn,
                path,
                speaker=speaker,
                fold=f"session{int(speaker[1:])}",
                emotion=_LETTERS.get(consensus, "") if consensus else label_from_votes(chosen, "plurality"),
                label_source="audiovisual" if consensus or chosen else "",
                label_rule="plurality" if consensus or chosen else "",
                language="en",
                **attributes,
                **vote_columns(chosen),
            )

    def expected(self) -> Expected:
        """Return the published counts."""
        return Expected(8438, SPEAKERS)


def _evaluation(reading: Reading) -> tuple[dict[str, tuple[str, dict[str, Any]]], dict[str, dict[str, float]]]:
    """Return turn -> (consensus letter, attributes) and turn -> votes."""
    table = reading.table("Evalution.txt", "Evaluation.txt")
    if table is None:
        reading.notes.append("no Evalution.txt below the root: all clips are unlabelled")
        return {}, {}
    labels: dict[str, tuple[str, dict[str, Any]]] = {}
    raters: dict[str, dict[str, str]] = {}
    turn = ""
    for line in read_text(table).splitlines():
        fields = [field.strip() for field in line.split(";")]
        if match := NAME.match(fields[0]):
            turn = match[1]
            labels[turn] = (fields[1] if len(fields) > 1 else "", _attributes(line))
        elif turn and len(fields) > 1 and fields[0] and fields[1]:
            # One line a rater; some rate a clip twice, and then the first answer counts.
            raters.setdefault(turn, {}).setdefault(fields[0], fields[1][0].upper())
    votes = {}
    for turn, answers in raters.items():
        counts = {**dict.fromkeys(_LETTERS.values(), 0.0), "other": 0.0}
        for letter in answers.values():
            counts[_LETTERS.get(letter, "other")] += 1
        votes[turn] = counts
    return labels, votes


def _attributes(line: str) -> dict[str, Any]:
    names = {"A": "arousal", "V": "valence", "D": "dominance"}
    return {names[key]: float(value) for key, value in re.findall(r"\b([AVD]):\s*(\d+(?:\.\d+)?)", line)}
