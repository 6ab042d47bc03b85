"""VoxCeleb1 and 2, and folders laid out like them: celebrities in interviews. Unlabelled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline.config import Config
from pipeline.corpora.base import AUDIO, VIDEO, About, Corpus, Reading, find_files, nothing_found
from pipeline.manifest.row import ManifestRow

# speaker / recording / number, below any folders
NAME = re.compile(r"(?:.*/)?(id\d{5})/([^/]+)/([^/]+)\.\w+")


class VoxCelebOptions(Config):
    """Options of ``voxceleb``."""

    corpus: str = Field("voxceleb", description="name of the corpus, e.g. voxceleb2")
    media: Literal["video", "audio"] = Field("video", description="which files: video or audio")


class VoxCeleb(Corpus[VoxCelebOptions]):
    """``dev/mp4/id00012/21Uxsk56VDQ/00001.mp4`` and the like."""

    about = About(
        "VoxCeleb1 and VoxCeleb2",
        "https://www.robots.ox.ac.uk/~vgg/data/voxceleb",
        "metadata under CC BY 4.0; the films stay with their owners",
        "Nagrani, Chung & Zisserman, Interspeech 2017; Chung, Nagrani & Zisserman, Interspeech 2018",
    )
    Options = VoxCelebOptions

    def read(self, root: Path) -> Reading:
        """Return a row a film or sound file; the language is not known."""
        reading = Reading()
        paths = find_files(root, VIDEO if self.options.media == "video" else AUDIO, reading)
        codes = {path: match.groups() for path in paths if (match := NAME.fullmatch(path))}
        reading.left_out(set(paths) - set(codes), "not in folders such as id00012/21Uxsk56VDQ")
        if not codes:
            raise nothing_found("VoxCeleb", root, "mp4/id00012/21Uxsk56VDQ/00001.mp4")
        for path, (speaker, recording, number) in codes.items():
            reading.rows.append(
                ManifestRow(
                    clip_id=f"{self.options.corpus}_{speaker}_{recording}_{number}".replace("#", "_"),
                    corpus=self.options.corpus,
                    path=path,
                    speaker=speaker,
                )
            )
        return reading
