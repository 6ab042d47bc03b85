"""The trainer against plain reads and plain matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from threadpoolctl import threadpool_limits

from tests.bench.table import Line, in_turn
from tests.trainer.conftest import write_part
from trainer.data.chunking import Chunking
from trainer.data.dataset import ChunkDataset
from trainer.data.normalisation import Normalisation
from trainer.data.shards import Shards, open_shards
from trainer.models.network import Network
from trainer.objectives import OBJECTIVES
from trainer.objectives.losses import SummedLoss
from trainer.params import EncoderParams, FinetuneParams
from trainer.training.loop import fit

UTTERANCES, FEATURES, PERIOD = 192, 130, 0.016


def lines(work: Path) -> Iterator[Line]:
    """Yield the comparisons of the trainer."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(UTTERANCES):
        frames = int(rng.integers(120, 300))
        rows.append({"segment_id": f"u{number:03d}", "clip_id": f"u{number:03d}", "corpus": "c",
                     "speaker": f"s{number % 8}", "split": None, "fold": None, "n_frames": frames,
                     "features": rng.normal(size=frames * FEATURES).astype(np.float32), "emotion": "abcd"[number % 4],
                     "label_source": "acted"})  # fmt: skip
    metadata = {"feature_names": [f"f{n}" for n in range(FEATURES)], "frame_period": PERIOD}
    write_part(work / "shards" / "part-000.parquet", rows, metadata=metadata)
    (work / "files").mkdir()
    for row in rows:
        table = pa.table({"features": pa.array(row["features"])})
        pq.write_table(table, work / "files" / f"{row['segment_id']}.parquet", compression="zstd")
    shards = open_shards(work / "shards", cache=work / "cache")
    with threadpool_limits(1):
        torch.set_num_threads(1)
        yield _reading(shards, sorted((work / "files").iterdir()))
        yield _epoch(shards)


def _reading(shards: Shards, files: list[Path]) -> Line:
    def ours() -> float:
        return sum(float(shards.features[a:b].sum()) for a, b in pairwise(shards.offsets))

    def other() -> float:
        return sum(float(pq.read_table(path)["features"].to_numpy().sum()) for path in files)

    note = f"{len(files)} utterances"
    return Line("read: memory map / one Parquet file an utterance", *in_turn(ours, other), note=note)


def _epoch(shards: Shards) -> Line:
    encoder = EncoderParams()
    rows = np.arange(len(shards.rows))
    chunking = Chunking.fit(chunk_seconds=1.0, max_seconds=4.8, chunks_per_second=1, frame_period=PERIOD)
    objective = OBJECTIVES["hard"]("abcd")
    labels = np.array(["abcd".index(name) for name in shards.rows["emotion"]])
    data = ChunkDataset(shards, rows, chunking=chunking, normalisation=Normalisation.fit(shards, rows, clip=3.0),
                        targets={"emotion": labels})  # fmt: skip
    loss = SummedLoss({"emotion": objective.loss(labels, label_smoothing=0.0)}, {"emotion": 1.0})
    epochs = 3
    schedule = FinetuneParams(epochs=epochs)
    chunks = int(data._gather(range(len(rows))).chunk_mask.sum())

    def ours() -> None:
        network = Network(FEATURES, encoder, outputs={"emotion": 4}, head_hidden=64)
        fit(network, data, None, heads={"emotion": objective}, loss=loss, schedule=schedule, seed=0)

    products = _products(encoder, chunks, chunking.frames)

    def other() -> None:
        for _ in range(epochs):
            for a, b, backward in products:
                for _ in range(backward):
                    a @ b

    return Line("training epoch / its multiplications as plain products", *in_turn(ours, other),
                note=f"{len(rows)} utterances, {chunks} chunks, {epochs} epochs")  # fmt: skip


def _products(encoder: EncoderParams, chunks: int, frames: int) -> list[tuple[torch.Tensor, torch.Tensor, int]]:
    """Matrices of the size of each convolution, and how often an epoch multiplies them: forward, weights, input."""
    found, before = [], FEATURES
    for layer, width in enumerate(encoder.widths):
        frames = -(-frames // encoder.stride)
        rows, columns = chunks * frames, before * encoder.kernel
        found.append((torch.randn(rows, columns), torch.randn(columns, width), 3 if layer else 2))
        before = width
    return found
