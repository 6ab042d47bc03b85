"""DeepEmoCluster's clusters: labels from the network's own vectors (Lin, Sridhar & Busso, ICASSP 2021).

Before every epoch K-means groups the utterance vectors, and its assignments become labels of a second head, which is
drawn anew since the numbers of clusters mean nothing from one epoch to the next. Stage 1 learns them on the
unlabelled rows, drawn evenly over clusters; stage 2 learns them on the labelled rows together with the real target.

Method ``released`` is the authors' code: its rows are chunks, both sets are clustered apart, the head is drawn anew
between the stages too, and the labelled rows are drawn evenly as well [code].
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import normalized_mutual_info_score
from torch import nn

from trainer.data.arrays import FloatArray, IntArray
from trainer.data.dataset import ChunkDataset
from trainer.data.normalisation import Normalisation
from trainer.data.rows import MISSING, Target, text
from trainer.data.shards import Shards
from trainer.errors import InputError
from trainer.finetuning.side_task import SideTask
from trainer.models.checkpoint import ModelSpec
from trainer.models.network import Network
from trainer.objectives import Hard, Objective
from trainer.objectives.losses import CrossEntropy, Loss, SummedLoss
from trainer.params import ClusterParams
from trainer.store import code_fingerprint
from trainer.training.clusters import fit_kmeans
from trainer.training.loop import EpochPlan, Pass, run_network

CLUSTERED, BOTH = "clustered", "clustered_both"  # modes: clusters of the labelled rows, of the unlabelled ones too
CLUSTER = "cluster"  # name of the head and of its target


def cluster_head(k: int) -> Hard:
    """Return the objective of the cluster head: one of ``k`` classes without a meaning of their own.

    >>> cluster_head(3).names
    ('0', '1', '2')
    """
    return Hard(tuple(map(str, range(k))))


def unassigned(n_rows: int) -> IntArray:
    """Cluster labels before the first epoch, and of rows that are never clustered (dev): none."""
    return np.full(n_rows, MISSING, dtype=np.int64)


def joint_loss(target: str, loss: Loss, params: ClusterParams) -> SummedLoss:
    """Stage 2: loss of the objective + weight * cross-entropy of the clusters, 1:1 [code]."""
    parts: dict[str, Loss] = {target: loss, CLUSTER: CrossEntropy(torch.ones(params.k))}
    return SummedLoss(parts, {target: 1.0, CLUSTER: params.weight})


def kmeans(vectors: FloatArray, *, k: int, iterations: int, seed: int) -> IntArray:
    """Assign (N, H) vectors to ``k`` clusters, (N,); InputError for fewer than ``k`` vectors."""
    if len(vectors) < k:
        raise InputError(f"cluster: {len(vectors)} utterances cannot make k = {k} clusters: lower it or add utterances")
    clusters = fit_kmeans(vectors.astype(np.float64), k=k, seed=seed, iterations=iterations)
    found: IntArray = clusters.labels_.astype(np.int64)
    return found


def evenly_over_clusters(assignments: IntArray, *, size: int, rng: np.random.Generator) -> IntArray:
    """Draw ``size`` positions, equally many from every cluster that has any (up to one), in random order.

    Within a cluster every row is drawn equally often, up to one: small clusters repeat theirs, large ones leave some
    out.
    """
    clusters = rng.permutation(np.unique(assignments))
    drawn = []
    for number, cluster in enumerate(clusters):
        quota = size // len(clusters) + (number < size % len(clusters))
        members = np.flatnonzero(assignments == cluster)
        rounds = -(-quota // len(members))
        drawn.append(np.concatenate([rng.permutation(members) for _ in range(rounds)] or [members[:0]])[:quota])
    return rng.permutation(np.concatenate(drawn))


@dataclass(frozen=True)
class Unlabelled:
    """The rows of a second shard folder that are clustered with the labelled ones.

    All but its split ``test`` and speakers ``without``: those of the labelled shards, whom some fold tests.
    """

    shards: Shards
    without: frozenset[str] = frozenset()

    @property
    def rows(self) -> IntArray:
        """Row indices into the shards."""
        theirs = ~np.isin(self.shards.speakers, list(self.without))
        return np.flatnonzero((text(self.shards.rows, "split") != "test") & theirs)

    @property
    def speakers(self) -> set[str]:
        """Keys of all speakers of the rows; a clip without speaker is one of its own."""
        return set(self.shards.speakers[self.rows])

    def dataset(self, spec: ModelSpec) -> ChunkDataset:
        """Rows as the network's input, z-normalised by statistics of their own.

        Ours: with those of another corpus the clusters would tell microphones apart.
        """
        own = Normalisation.fit(self.shards, self.rows, clip=spec.normalisation.clip, scope=spec.normalisation.scope)
        return replace(spec, normalisation=own).dataset(self.shards, self.rows, {CLUSTER: unassigned(len(self.rows))})


@dataclass
class Clustering:
    """``each_epoch`` of `trainer.training.loop.fit`: cluster, then plan both stages.

    ``labelled`` (with its target) and ``unlabelled`` are clustered together; the latter may be missing. ``loss``: of
    stage 2, as `joint_loss` makes it. The history gets ``cluster_nmi``, the normalised mutual information of this
    epoch's assignments and the last one's (NaN in the first), and ``cluster_largest``, the share of rows in the largest
    cluster (1: the vectors have collapsed).
    """

    labelled: ChunkDataset
    unlabelled: ChunkDataset | None
    loss: SummedLoss
    params: ClusterParams
    seed: int
    device: str = "cpu"
    last: IntArray | None = field(default=None, init=False)  # (N,) of labelled, then unlabelled rows
    epoch: int = field(default=0, init=False)

    def __call__(self, network: nn.Module) -> EpochPlan:
        """Give every row its cluster of this epoch and the network a fresh cluster head."""
        self.epoch += 1
        sets = [self.labelled, *([] if self.unlabelled is None else [self.unlabelled])]
        vectors = [run_network(network, data, batch_size=256, device=self.device).vectors.numpy() for data in sets]
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.params.method == "released":
            own, others = (self._kmeans(some, rng) for some in (*vectors, *[np.zeros((0, 1), np.float32)])[:2])
            found = own  # the numbers of the other set's clusters are another set's
        else:
            found = self._kmeans(np.concatenate(vectors), rng)
            own, others = np.split(found, [len(self.labelled)])
        self.labelled.relabel(CLUSTER, own)
        head = cast(Network, network).heads[CLUSTER]
        draw_anew(head)
        passes = []
        if self.unlabelled is not None:
            self.unlabelled.relabel(CLUSTER, others)
            stage = SummedLoss({CLUSTER: self.loss.parts[CLUSTER]}, {CLUSTER: 1.0})
            passes.append(Pass(self.unlabelled, stage, evenly_over_clusters(others, size=len(others), rng=rng)))
        evenly = self.params.uniform == "all" or self.params.method == "released"
        order = evenly_over_clusters(own, size=len(own), rng=rng) if evenly else None
        again = self.params.method == "released" and bool(passes)  # between the stages
        passes.append(Pass(self.labelled, self.loss, order, before=partial(_renew, head) if again else None))
        record = {
            "cluster_nmi": np.nan if self.last is None else float(normalized_mutual_info_score(self.last, found)),
            "cluster_largest": float(np.bincount(found).max() / len(found)),
        }
        self.last = found
        return EpochPlan(passes, renewed=[head], record=record)

    def _kmeans(self, vectors: FloatArray, rng: np.random.Generator) -> IntArray:
        if not len(vectors):
            return np.zeros(0, np.int64)
        seed = int(rng.integers(2**31))
        return kmeans(vectors, k=self.params.k, iterations=self.params.iterations, seed=seed)


@dataclass(frozen=True)
class ClusterRecipe(SideTask):
    """A cluster head as side task; ``unlabelled``: rows of another folder that are clustered too."""

    clusters: ClusterParams
    unlabelled: Unlabelled | None = None

    def identity(self) -> dict[str, Any]:
        """Name setting, code and unlabelled shards."""
        others = None if self.unlabelled is None else self.unlabelled.shards.fingerprint
        settings = self.clusters.model_dump(mode="json", exclude={"modes"})
        return {"cluster": settings, "unlabelled": others, "code": code_fingerprint("recipes/cluster")}

    @property
    def heads(self) -> dict[str, Objective]:
        """The cluster head."""
        return {CLUSTER: cluster_head(self.clusters.k)}

    def targets(self, n_rows: int) -> dict[str, Target]:
        """No cluster yet, and never one for held-out rows."""
        return {CLUSTER: unassigned(n_rows)}

    def loss(self, target: str, loss: Loss) -> SummedLoss:
        """Loss of both heads."""
        return joint_loss(target, loss, self.clusters)

    def each_epoch(
        self, train: ChunkDataset, spec: ModelSpec, loss: SummedLoss, *, seed: int, device: str
    ) -> Clustering:
        """Cluster, then plan both stages."""
        others = None if self.unlabelled is None else self.unlabelled.dataset(spec)
        if self.clusters.method == "released":
            train, others = train.by_chunk(), None if others is None else others.by_chunk()
        return Clustering(train, others, loss, self.clusters, seed=seed, device=device)

    @property
    def speakers(self) -> set[str]:
        """Keys of the unlabelled speakers."""
        return set() if self.unlabelled is None else self.unlabelled.speakers

    def about(self, history: pd.DataFrame, *, tested: set[str]) -> dict[str, Any]:
        """Name the setting, the last agreement of successive clusters, and test speakers among the unlabelled."""
        nmi = history["cluster_nmi"].iloc[-1]
        about: dict[str, Any] = {"clustering": str(self.clusters), "cluster_nmi": None if pd.isna(nmi) else float(nmi)}
        if self.unlabelled is not None:
            both = len(tested & self.speakers)
            about |= {"n_unlabelled": len(self.unlabelled.rows), "pretrain_speakers_in_test": both}
        return about

    def provenance(self) -> dict[str, Any]:
        """Name the setting and the unlabelled shards."""
        others = None if self.unlabelled is None else self.unlabelled.shards.fingerprint
        return {"clustering": {**self.clusters.model_dump(mode="json", exclude={"modes"}), "unlabelled_shards": others}}


def _renew(head: nn.Module) -> tuple[nn.Module]:
    draw_anew(head)
    return (head,)


def draw_anew(module: nn.Module) -> None:
    """Re-initialise every layer of ``module`` from torch's global generator."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
