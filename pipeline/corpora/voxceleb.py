"""VoxCeleb1 and 2, and folders laid out like them: celebrities in interviews. Unlabelled."""

from __future__ import annotations

import re

from pydantic import Field

from pipeline.corpora.base import About, Corpus, VideoOptions
from pipeline.corpora.reading import MEDIA, Reading

# speaker / recording / number, below any folders
NAME = re.compile(r"(?:.*/)?(id\d{5})/([^/]+)/([^/]+)\.\w+")


class VoxCelebOptions(VideoOptions):
    """Options of ``voxceleb``."""

    corpus: str = Field("voxceleb", description="name of the corpus, e.g. voxceleb2")


class VoxCeleb(Corpus[VoxCelebOptions]):
    """``dev/mp4/id00012/21Uxsk56VDQ/00001.mp4`` and the like."""

    about = About(
        "VoxCeleb1 and VoxCeleb2",
        "https://www.robots.ox.ac.uk/~vgg/data/voxceleb",
        "metadata under CC BY 4.0; the films stay with their owners",
        "Nagrani, Chung & Zisserman, Interspeech 2017; Chung, Nagrani & Zisserman, Interspeech 2018",
    )
    name = "VoxCeleb"
    example = "mp4/id00012/21Uxsk56VDQ/00001.mp4"
    Options = VoxCelebOptions

    def fill(self, reading: Reading) -> None:
        """Add a row a film or sound file; the language is not known."""
        paths = reading.files(MEDIA[self.options.media])
        codes = reading.match(paths, NAME, unmatched="not in folders such as id00012/21Uxsk56VDQ", text=str)
        for path, (speaker, recording, number) in codes.items():
            reading.add(self.options.corpus, f"{speaker}_{recording}_{number}", path, speaker=speaker)
