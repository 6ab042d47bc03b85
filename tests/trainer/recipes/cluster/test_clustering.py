"""K-means labels every epoch: deterministic, evenly drawn, and a head that starts anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score

from tests.trainer.conftest import labelled_rows, unlabelled_rows
from trainer.data.chunking import chunking_for
from trainer.data.normalisation import Normalisation
from trainer.data.rows import MISSING
from trainer.data.shards import open_shards
from trainer.errors import InputError
from trainer.models.checkpoint import ModelSpec
from trainer.objectives import Hard
from trainer.objectives.losses import SummedLoss
from trainer.params import ClusterParams, Params, RuntimeParams, ScheduleParams
from trainer.recipes.cluster.clustering import (
    CLUSTER,
    Clustering,
    ClusterRecipe,
    Unlabelled,
    cluster_head,
    evenly_over_clusters,
    joint_loss,
    kmeans,
    unassigned,
)
from trainer.training.loop import EpochPlan, Pass, fit, make_deterministic

Make = Callable[..., Path]
Tiny = Callable[..., Params]


def test_kmeans_finds_planted_clusters_and_the_same_ones_again() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 200)
    vectors = (np.eye(4)[truth] * 9 + rng.normal(0, 1, (200, 4))).astype(np.float32)
    found = [kmeans(vectors, k=4, iterations=20, seed=3) for _ in range(2)]
    assert normalized_mutual_info_score(truth, found[0]) > 0.99
    np.testing.assert_array_equal(*found)
    assert not np.array_equal(found[0], kmeans(vectors, k=4, iterations=20, seed=4))


def test_kmeans_says_when_there_is_too_little_and_survives_a_collapse() -> None:
    with pytest.raises(InputError, match=r"3 utterances cannot make k = 4 clusters"):
        kmeans(np.zeros((3, 2), np.float32), k=4, iterations=5, seed=0)
    assert len(set(kmeans(np.ones((9, 2), np.float32), k=4, iterations=5, seed=0))) == 1


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 150), st.integers(0, 2**31))
def test_every_cluster_is_drawn_equally_often(clusters: list[int], size: int, seed: int) -> None:
    assignments = np.array(clusters)
    drawn = evenly_over_clusters(assignments, size=size, rng=np.random.default_rng(seed))
    assert len(drawn) == size
    times = np.bincount(drawn, minlength=len(assignments))
    per_cluster = [times[assignments == cluster] for cluster in np.unique(assignments)]
    totals = [counts.sum() for counts in per_cluster]
    assert max(totals) - min(totals) <= 1
    assert all(counts.max() - counts.min() <= 1 for counts in per_cluster)


class Toy:
    """A network, its data and its losses on toy shards."""

    def __init__(self, make_shards: Make, tiny: Tiny, tmp_path: Path, **cluster: Any) -> None:
        params = tiny()
        self.params = ClusterParams(k=3, **cluster)
        shards = open_shards(make_shards("l", labelled_rows()), cache=tmp_path / "c")
        rows = np.arange(len(shards.rows))
        head = Hard(("anger", "neutral", "sadness"))
        labels = head.encode(shards.rows, "emotion")
        self.heads = {"emotion": head, CLUSTER: cluster_head(3)}
        self.spec = ModelSpec(
            kind="finetune", encoder=params.encoder, head_hidden=4, heads={**self.heads},
            feature_names=shards.feature_names, frame_period=shards.frame_period,
            chunking=chunking_for(shards, rows, params.encoder),
            normalisation=Normalisation.fit(shards, rows, clip=3.0),
        )  # fmt: skip
        self.train, self.dev = (
            self.spec.dataset(shards, some, {"emotion": labels[some], CLUSTER: unassigned(len(some))})
            for some in (rows[:48], rows[48:])
        )
        others = open_shards(make_shards("u", unlabelled_rows()), cache=tmp_path / "c")
        self.others = Unlabelled(others)
        self.unlabelled = self.others.dataset(self.spec)
        self.loss = joint_loss("emotion", head.loss(labels[:48], label_smoothing=0.0), self.params)
        make_deterministic(RuntimeParams(), seed=0)
        self.network = self.spec.build()

    def clustering(self, *, seed: int = 0) -> Clustering:
        return Clustering(self.train, self.unlabelled, self.loss, self.params, seed=seed)

    def fit(self, **options: Any) -> Any:
        schedule = ScheduleParams(epochs=3, patience=3, batch_size=16, monitor="last")
        return fit(
            self.network, self.train, self.dev,
            **{"heads": self.heads, "loss": self.loss, "schedule": schedule, "seed": 0} | options,
        )  # fmt: skip


@pytest.fixture
def toy(make_shards: Make, tiny: Tiny, tmp_path: Path) -> Callable[..., Toy]:
    return lambda **cluster: Toy(make_shards, tiny, tmp_path, **cluster)


def test_an_epoch_gets_two_stages_and_a_fresh_head(toy: Callable[..., Toy]) -> None:
    it = toy()
    before = {name: value.clone() for name, value in it.network.state_dict().items()}
    plan = it.clustering()(it.network)
    for name, value in it.network.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith(f"heads.{CLUSTER}"), name
    assert list(plan.renewed) == [it.network.heads[CLUSTER]]
    first, second = plan.passes
    assert first.data is it.unlabelled
    assert first.order is not None
    assert second.data is it.train
    assert second.order is None
    told = [it.train.targets[CLUSTER], it.unlabelled.targets[CLUSTER]]
    assert set(np.concatenate(told)) == {0, 1, 2}
    assert np.ptp(np.bincount(told[1][first.order])) <= 1
    assert it.train[5].targets[CLUSTER].item() == told[0][5]  # what a batch says, too
    assert (it.dev.targets[CLUSTER] == MISSING).all()
    logits = it.network(it.unlabelled[0])
    assert first.loss(logits, it.unlabelled[0].targets) > 0  # stage 1 asks for no emotion


def test_labelled_rows_can_be_drawn_evenly_too(toy: Callable[..., Toy]) -> None:
    it = toy(uniform="all")
    order = it.clustering()(it.network).passes[-1].order
    assert order is not None
    assert np.ptp(np.bincount(it.train.targets[CLUSTER][order])) <= 1


def test_the_log_holds_the_agreement_of_successive_clusters(toy: Callable[..., Toy]) -> None:
    it = toy()
    clustering, seen = it.clustering(), []

    def watched(network: Any) -> EpochPlan:
        plan = clustering(network)
        assert clustering.last is not None
        seen.append(clustering.last)
        return plan

    history = it.fit(each_epoch=watched).history
    assert np.isnan(history["cluster_nmi"][0])
    assert history["cluster_nmi"][1:].between(0, 1).all()
    assert history["cluster_nmi"][2] == normalized_mutual_info_score(seen[1], seen[2])
    assert history["cluster_largest"].between(1 / 3, 1).all()


def test_two_runs_are_bit_identical_and_the_seed_matters(toy: Callable[..., Toy]) -> None:
    states, histories = [], []
    for seed in (0, 0, 1):
        it = toy()
        torch.manual_seed(seed)
        histories.append(it.fit(each_epoch=it.clustering(seed=seed), seed=seed).history)
        states.append(it.network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert histories[0].equals(histories[1])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_a_plan_of_the_usual_pass_is_the_usual_training(toy: Callable[..., Toy]) -> None:
    states = []
    for planned in (False, True):
        it = toy()
        torch.manual_seed(0)
        usual = EpochPlan([Pass(it.train, it.loss)])
        it.fit(each_epoch=(lambda network, usual=usual: usual) if planned else None)
        states.append(it.network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_optimiser_forgets_what_it_knew_of_a_renewed_head(
    toy: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[torch.optim.Optimizer] = []

    class Remembered(torch.optim.AdamW):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(torch.optim, "AdamW", Remembered)
    it = toy()
    it.fit(each_epoch=it.clustering())
    steps = {
        name: {int(made[0].state[parameter]["step"]) for parameter in it.network.heads[name].parameters()}
        for name in it.heads
    }
    # 3 epochs of 3 unlabelled and 3 labelled batches; the cluster head knows the last epoch, the other stage 2 alone
    assert steps == {"emotion": {9}, CLUSTER: {6}}


def test_rows_of_the_split_test_are_not_clustered(make_shards: Make, tmp_path: Path) -> None:
    rows = unlabelled_rows()
    for row in rows:
        row["split"] = "test" if row["speaker"] == "x" else None
    others = Unlabelled(open_shards(make_shards("u", rows), cache=tmp_path / "c"))
    assert others.speakers == {"talk/u", "talk/v", "talk/w"}
    assert len(others.rows) == sum(row["speaker"] != "x" for row in rows)


def test_stage_two_is_one_to_one(toy: Callable[..., Toy]) -> None:
    it = toy()
    it.train.relabel(CLUSTER, np.arange(48) % 3)
    batch = it.train.__getitems__(list(range(8)))
    logits = it.network.eval()(batch)
    parts = [SummedLoss({n: it.loss.parts[n]}, {n: 1.0})(logits, batch.targets) for n in ("emotion", CLUSTER)]
    torch.testing.assert_close(it.loss(logits, batch.targets), parts[0] + parts[1])
    expected = torch.nn.functional.cross_entropy(logits[CLUSTER], torch.arange(8) % 3)
    torch.testing.assert_close(parts[1], expected)


def _released(it: Toy) -> tuple[Clustering, EpochPlan]:
    """Clustering and the first epoch's plan of the authors' code."""
    recipe = ClusterRecipe(it.params, it.others)
    clustering = recipe.each_epoch(it.train, it.spec, it.loss, seed=0, device="cpu")
    return clustering, clustering(it.network)


def test_as_released_the_rows_are_chunks(toy: Callable[..., Toy]) -> None:
    it = toy(method="released")
    clustering, plan = _released(it)
    whole = it.train.truth()
    longest = int(it.train.shards.lengths[it.train.rows].argmax())
    batch = it.train[longest]
    count = int(batch.chunk_mask.sum())
    assert count > 1
    chunks = plan.passes[1].data
    own = np.flatnonzero(chunks.rows == it.train.rows[longest])
    assert len(own) == count
    got = chunks.__getitems__(own.tolist())
    assert torch.equal(got.x[:, 0], batch.x[0][batch.chunk_mask[0]])  # the same frames, each a row of its own
    assert torch.equal(got.frame_mask[:, 0], batch.frame_mask[0][batch.chunk_mask[0]])
    assert got.targets["emotion"].tolist() == [whole["emotion"][longest].item()] * count
    assert len(plan.passes[0].data) > len(it.unlabelled)
    assert clustering.last is not None
    assert len(clustering.last) == len(chunks)


def test_as_released_each_set_is_clustered_by_itself(toy: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(vectors: Any, **options: Any) -> Any:
        sizes.append(len(vectors))
        return kmeans(vectors, **options)

    monkeypatch.setattr("trainer.recipes.cluster.clustering.kmeans", counted)
    it = toy(method="released")
    _, plan = _released(it)
    assert sizes == [len(plan.passes[1].data), len(plan.passes[0].data)]
    assert set(plan.passes[0].data.targets[CLUSTER]) == set(plan.passes[1].data.targets[CLUSTER]) == {0, 1, 2}
    sizes.clear()
    together = toy()
    together.clustering()(together.network)
    assert sizes == [len(together.train) + len(together.unlabelled)]


def test_as_released_the_head_is_new_between_the_stages_and_labelled_rows_are_drawn_evenly(
    toy: Callable[..., Toy],
) -> None:
    it = toy(method="released")
    _, plan = _released(it)
    second = plan.passes[1]
    assert second.order is not None
    assert np.ptp(np.bincount(second.data.targets[CLUSTER][second.order])) <= 1
    assert plan.passes[0].before is None
    assert second.before is not None
    head = it.network.heads[CLUSTER]
    old = [parameter.clone() for parameter in head.parameters()]
    assert list(second.before()) == [head]
    assert not any(torch.equal(one, two) for one, two in zip(old, head.parameters(), strict=True))
    ours = toy().clustering()
    assert all(part.before is None for part in ours(it.network).passes)


def test_as_released_it_trains_and_repeats(toy: Callable[..., Toy]) -> None:
    states = []
    for _ in range(2):
        it = toy(method="released")
        torch.manual_seed(0)
        recipe = ClusterRecipe(it.params, it.others)
        history = it.fit(each_epoch=recipe.each_epoch(it.train, it.spec, it.loss, seed=0, device="cpu")).history
        states.append(it.network.state_dict())
        assert history["cluster_nmi"][1:].between(0, 1).all()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
