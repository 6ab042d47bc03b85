"""What one row of a manifest may say: its columns, their types, and the one vocabulary of emotion names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from pipeline.config import Config
from pipeline.contracts import LABEL_COLUMNS
from pipeline.engine.names import canonical

#: The one vocabulary of emotion names; readers of corpora translate into it.
EMOTIONS = (
    "anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt", "calm", "boredom",
)  # fmt: skip
SPLITS = ("train", "dev", "test")
LABEL_SOURCES = ("acted", "voice", "face", "audiovisual", "simulated")
LABEL_RULES = ("majority", "plurality", "all_inclusive")

#: What people write instead, used to say which name was meant; never applied silently.
SYNONYMS = {
    "angry": "anger", "disgusted": "disgust", "fearful": "fear", "afraid": "fear", "scared": "fear",
    "happy": "happiness", "joy": "happiness", "sad": "sadness", "surprised": "surprise", "bored": "boredom",
    "training": "train", "val": "dev", "valid": "dev", "validation": "dev", "development": "dev",
    "testing": "test", "eval": "test", "audio": "voice", "video": "face", "multimodal": "audiovisual",
}  # fmt: skip

#: Control characters and lone surrogates survive neither a spreadsheet nor Parquet.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def suggestion(word: str, known: Collection[str]) -> str:
    """Return ``'; did you mean ...?'`` for the nearest known name, or nothing.

    >>> suggestion("speker", ["speaker", "split"])
    "; did you mean 'speaker'?"
    >>> suggestion("val", SPLITS)
    "; did you mean 'dev'?"
    """
    lowered = word.strip().lower()
    near = [SYNONYMS[lowered]] if SYNONYMS.get(lowered) in known else []
    near = near or difflib.get_close_matches(lowered, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def printable(value: str) -> str:
    """Return the text, or raise ``ValueError`` if a table cannot hold it in one cell."""
    if UNPRINTABLE.search(value):
        raise ValueError(f"{value!r} holds a line break or another control character; take it out")
    return value


def _identifier(value: str) -> str:
    # "<clip_id>#000" names a clip's segments, so the mark cannot be part of the id.
    if "#" in value:
        raise ValueError(f"{value!r} holds '#', which separates a clip from its segments; use '-' or '_'")
    return value


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value and value not in known:
            choices = ", ".join(known)
            hint = suggestion(value, known)
            if known is EMOTIONS:
                hint += ". To translate all labels of the file: python -m pipeline translate FILE -o FILE"
            raise ValueError(f"{value!r} is not one of {choices} (or empty){hint}")
        return value

    return check


def inside_root(value: str) -> str:
    """Refuse what cannot be a path below the root, by its text alone (links are checked on disk)."""
    if "://" in value:
        raise ValueError(f"{value!r} is an address, not a path; only local files inside the root are read")
    if "\\" in value:
        raise ValueError(f"{value!r} is written with backslashes; write '/' between folders")
    if value.startswith("/") or re.match("[A-Za-z]:", value):
        raise ValueError(f"{value!r} is an absolute path; write it relative to the root")
    if ".." in PurePosixPath(value).parts:
        raise ValueError(f"{value!r} leads outside the root by '..'; choose a root that holds the file")
    return value


# A path stays as it is written: it has to be found on disk. All else is compared, so that its form must be one.
RelativePath = Annotated[str, AfterValidator(printable), AfterValidator(inside_root)]
Text = Annotated[str, AfterValidator(printable), AfterValidator(canonical)]
Required = Annotated[Text, Field(min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False)] | None
Count = Annotated[float, Field(ge=0, allow_inf_nan=False)] | None


def _column(description: str, default: Any = "") -> Any:
    return Field(default=default, description=description)


class ManifestRow(Config):
    """One clip. Empty text and ``None`` both mean "not known"; a row without ``emotion`` is unlabelled."""

    clip_id: Annotated[Required, AfterValidator(_identifier)] = Field(description="unique name of the clip")
    corpus: Required = Field(description="short name of the corpus; speakers are told apart within it")
    path: Annotated[RelativePath, Field(min_length=1)] = Field(description="media file, relative to the root")
    speaker: Required = Field(description="who speaks; splits and folds are checked on it")
    split: Annotated[Text, AfterValidator(_one_of(SPLITS))] = _column("train, dev, test or empty")
    fold: Text = _column("name of a fold or session; all of a speaker's clips share one")
    start: Count = _column("where the clip starts in the file, seconds; empty: 0", None)
    end: Count = _column("where it ends, seconds; empty: the end of the file", None)
    emotion: Annotated[Text, AfterValidator(_one_of(EMOTIONS))] = _column("label, from the one vocabulary")
    label_source: Annotated[Text, AfterValidator(_one_of(LABEL_SOURCES))] = _column(
        "where the label comes from: acted (intended); voice, face or audiovisual (what raters were shown); simulated "
        "(intended, with votes that nobody gave)"
    )
    label_rule: Annotated[Text, AfterValidator(_one_of(LABEL_RULES))] = _column(
        "how raters' votes became the label: majority (more than half), plurality or all_inclusive (ties drawn)"
    )
    votes_anger: Count = _column("how many raters chose anger", None)
    votes_disgust: Count = _column("how many raters chose disgust", None)
    votes_fear: Count = _column("how many raters chose fear", None)
    votes_happiness: Count = _column("how many raters chose happiness", None)
    votes_sadness: Count = _column("how many raters chose sadness", None)
    votes_surprise: Count = _column("how many raters chose surprise", None)
    votes_neutral: Count = _column("how many raters chose neutral", None)
    votes_contempt: Count = _column("how many raters chose contempt", None)
    votes_calm: Count = _column("how many raters chose calm", None)
    votes_boredom: Count = _column("how many raters chose boredom", None)
    votes_other: Count = _column("how many raters chose something else; part of the total, no class", None)
    arousal: Number = _column("mean rating, in the corpus's own scale", None)
    valence: Number = _column("mean rating, in the corpus's own scale", None)
    dominance: Number = _column("mean rating, in the corpus's own scale", None)
    intensity: Count = _column("strength asked of the actor, in the corpus's own steps (1 is the weakest)", None)
    level: Number = _column("strength that raters perceived, mean rating, in the corpus's own scale", None)
    sentence: Text = _column("what is said")
    alignment: RelativePath = _column("file with the times of words or phones, relative to the root")
    language: Text = _column("language code, e.g. en")

    @model_validator(mode="after")
    def _ordered(self) -> ManifestRow:
        if self.end is not None and self.end <= (self.start or 0.0):
            raise ValueError(f"the clip ends at {self.end} s, not after its start {self.start or 0.0} s")
        return self


COLUMNS = tuple(ManifestRow.model_fields)
REQUIRED = tuple(name for name, field in ManifestRow.model_fields.items() if field.is_required())
NUMBERS = tuple(name for name, field in ManifestRow.model_fields.items() if field.default is None)


def is_labelled(row: Mapping[str, Any]) -> bool:
    """Return whether a row of a manifest says what there is to hear or see; such a clip is never cut.

    >>> is_labelled({"emotion": "anger"}), is_labelled({"emotion": None, "label_source": "acted"})
    (True, False)
    """
    names = [column for column, _ in LABEL_COLUMNS if column not in ("label_source", "label_rule")]
    return any(row.get(column) not in (None, "") for column in names)
