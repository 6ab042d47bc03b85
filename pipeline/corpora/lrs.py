"""LRS2 and LRS3, and folders laid out like them: films of talking heads with a transcript beside each."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pydantic import Field

from pipeline.config import Config
from pipeline.corpora.base import About, Corpus
from pipeline.corpora.reading import Reading, first_few, one_line
from pipeline.engine.names import read_text


class LrsOptions(Config):
    """Options of ``lrs``."""

    corpus: str = Field("lrs", description="name of the corpus, e.g. lrs2 or lrs3")
    parts: str = Field("", description="folders to take, e.g. pretrain,trainval; default: all")


class Lrs(Corpus[LrsOptions]):
    """``pretrain/<recording>/00001.mp4`` with ``00001.txt``. Unlabelled; each recording counts as a speaker."""

    about = About(
        "LRS2 (BBC) and LRS3 (TED) lip-reading sentences",
        "https://www.robots.ox.ac.uk/~vgg/data/lip_reading",
        "LRS2: agreement with the BBC, research only; LRS3: the talks are under CC BY-NC-ND 4.0",
        "Afouras, Chung, Senior, Vinyals & Zisserman (2018); Afouras, Chung & Zisserman (2018)",
    )
    name = "LRS"
    example = "pretrain/5535415699068794046/00001.mp4"
    Options = LrsOptions

    def fill(self, reading: Reading) -> None:
        """Add a row a film; ``alignment`` is the transcript where that gives times of words."""
        parts = {name.strip() for name in self.options.parts.split(",") if name.strip()}
        texts = set(reading.files({".txt"}))
        bare: list[str] = []
        for path in reading.files({".mp4"}):
            pure = PurePosixPath(path)
            part, recording = pure.parent.parent.name, pure.parent.name
            if not recording or (parts and part not in parts):
                continue
            text = str(pure.with_suffix(".txt"))
            sentence, timed = _transcript(reading.root / text) if text in texts else ("", False)
            bare += [] if text in texts else [path]
            reading.add(
                self.options.corpus,
                "_".join(pure.with_suffix("").parts),
                path,
                speaker=recording,
                sentence=sentence,
                alignment=text if timed else "",
                language="en",
            )
        if not reading.rows:
            raise reading.nothing_found()
        reading.note(len(bare), f"films have no transcript beside them ({first_few(bare)})")


def _transcript(path: Path) -> tuple[str, bool]:
    lines = read_text(path).splitlines()
    sentence = next((one_line(line[5:]) for line in lines if line.startswith("Text:")), "")
    return sentence, any(line.startswith("WORD START END") for line in lines)
