"""Stage ``orofacial``, shards of a recipe: positions of lips, jaw and chin, and the viseme, on every acoustic frame.

Speech-driven orofacial movement after Sadoughi & Busso (FG 2018). The points are pose-free (the faces table aligned
them to a canonical face), in inter-ocular distances, y up; which of the mesh's points stand for the mouth is ours. The
recipe has shards of its own (``data/shards/orofacial``), so that no other training reads 60 more numbers a frame.
"""

from __future__ import annotations

from pipeline.engine.places import Rows, table
from pipeline.errors import InputError
from pipeline.orofacial.mouth import Mouth
from pipeline.params import Params
from pipeline.stages.shards import run_shards

FOLDER = "orofacial"


def run_orofacial(params: Params) -> None:
    """Write the recipe's shards: every segment of the unlabelled set that has a face, in ``data/shards/orofacial``.

    Raises:
        InputError: there is no faces table, or no segment with a face.
    """
    folder = table("faces", "unlabelled")
    if not folder.is_dir():
        raise InputError(f"{folder} not found: run the faces stage first (dvc repro faces)")
    root = params.sets.unlabelled.root.resolve()
    mouth = Mouth(params.shards.dense, faces=Rows(folder, ok_only=True), root=root)
    run_shards(params, "unlabelled", more=mouth, folder=table("shards", FOLDER))
    counts = (f"{mouth.aligned[kind]} segments with times of {kind}" for kind in ("phones", "words"))
    print(f"visemes: {', '.join(counts)}")
    if mouth.unknown:
        missing = ", ".join(f"{name} ({count})" for name, count in mouth.unknown.most_common(10))
        print(f"in no table: {missing} (words: install the extra 'visemes'; phones: ARPABET is wanted)")
    if mouth.unreadable:
        count, example = len(mouth.unreadable), mouth.unreadable[0]
        print(f"{count} segments without visemes, as their alignment is wrong, e.g. {example}")
