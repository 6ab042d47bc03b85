"""What a network's latent clusters are made of: emotions by cluster, agreement with labels and speakers, a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

from trainer.data.arrays import FloatArray
from trainer.data.rows import text
from trainer.data.shards import open_shards
from trainer.errors import InputError
from trainer.models.checkpoint import load_model
from trainer.params import ClusterParams, RuntimeParams
from trainer.recipes.cluster.clustering import CLUSTER, kmeans
from trainer.store import replace_file, write_json, write_table
from trainer.training.loop import make_deterministic, run_network

mpl.use("Agg")  # no display on a training machine
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

mpl.rcParams["text.parse_math"] = False  # labels may hold dollar signs
View = Literal["pca", "tsne"]


@dataclass(frozen=True)
class Latent:
    """``makeup``: a row a cluster; ``points``: a row an utterance; ``summary``: numbers over all of them."""

    makeup: pd.DataFrame
    points: pd.DataFrame
    summary: dict[str, Any]


def latent_clusters(
    shards_folder: str | Path,
    model: str | Path,
    out: str | Path,
    recipe: ClusterParams | None = None,
    *,
    k: int | None = None,
    column: str = "emotion",
    view: View = "pca",
    unheard: bool = False,
    seed: int = 0,
    runtime: RuntimeParams | None = None,
    cache: str | Path = ".cache/trainer",
) -> Latent:
    """Cluster the vectors of all rows with a label in ``column``, as training does; write what they hold to ``out``.

    Writes makeup.csv, points.csv, summary.json and clusters.png. ``k``: instead of the number of the model's cluster
    head, or of ``recipe`` for a model without one; any model folder will do. ``unheard``: only speakers that are not in
    the model's training.

    Raises:
        InputError: no row is left, there are fewer rows than clusters, or the model does not know the features.
    """
    recipe, runtime = recipe or ClusterParams(), runtime or RuntimeParams()
    make_deterministic(runtime, seed=seed)
    loaded = load_model(model)
    shards = open_shards(shards_folder, cache=cache)
    labels, speakers = text(shards.rows, column), shards.speakers
    chosen = labels != ""
    if unheard:
        chosen &= ~np.isin(speakers.astype(str), loaded.config.get("speakers", []))
    rows = np.flatnonzero(chosen)
    if not len(rows):
        outside = " by a speaker outside the training" if unheard else ""
        raise InputError(f"{shards.folder}: no row with a label in column {column!r}{outside}")
    head = loaded.spec.heads.get(CLUSTER)
    k = k or (len(head.names) if head is not None else recipe.k)
    network = loaded.network.to(runtime.device)
    vectors = run_network(network, loaded.spec.dataset(shards, rows), batch_size=64, device=runtime.device)
    z = vectors.vectors.numpy()
    found = kmeans(z, k=k, iterations=recipe.iterations, seed=seed)
    x = project(z, view=view, seed=seed)
    points = pd.DataFrame(
        {
            "segment_id": list(shards.rows["segment_id"].iloc[rows]),
            "speaker": speakers[rows],
            column: labels[rows],
            "cluster": found,
            "x": x[:, 0],
            "y": x[:, 1],
        }
    )
    result = Latent(makeup(points, column), points, {"view": view, **agreement(points, column)})
    folder = Path(out)
    write_table(folder / "makeup.csv", result.makeup)
    write_table(folder / "points.csv", points)
    replace_file(folder / "summary.json", lambda path: write_json(path, result.summary))
    replace_file(folder / "clusters.png", lambda path: draw(path, points, column, view=view))
    return result


def makeup(points: pd.DataFrame, column: str) -> pd.DataFrame:
    """Describe every cluster, largest first: number, size, purity (share of its commonest label), share of each label.

    >>> points = pd.DataFrame({"cluster": [0, 0, 1], "emotion": ["anger", "fear", "fear"]})
    >>> makeup(points, "emotion").to_dict("records")[0]
    {'cluster': 0, 'n': 2, 'purity': 0.5, 'anger': 0.5, 'fear': 0.5}
    """
    counts = pd.crosstab(points["cluster"], points[column])
    share = counts.div(counts.sum(axis=1), axis=0)
    share.insert(0, "n", counts.sum(axis=1))
    share.insert(1, "purity", (counts.max(axis=1) / counts.sum(axis=1)).astype(float))
    table = share.rename_axis(columns=None).reset_index()
    return table.sort_values(["n", "cluster"], ascending=[False, True], ignore_index=True)


def agreement(points: pd.DataFrame, column: str) -> dict[str, Any]:
    """Purity over all clusters and of one single cluster, and mutual information with labels and speakers.

    ``nmi`` is normalised by the arithmetic mean of the entropies and grows with the number of clusters even for random
    ones; ``ami`` is corrected for chance (0: random).
    """
    counts = pd.crosstab(points["cluster"], points[column]).to_numpy()
    of_label, of_speaker = (
        (normalized_mutual_info_score(points[name], points["cluster"]),
         adjusted_mutual_info_score(points[name], points["cluster"]))
        for name in (column, "speaker")
    )  # fmt: skip
    return {
        "rows": len(points),
        "clusters": len(counts),
        "purity": float(counts.max(axis=1).sum() / counts.sum()),
        "purity_of_one_cluster": float(counts.sum(axis=0).max() / counts.sum()),
        f"nmi_{column}": float(of_label[0]),
        f"ami_{column}": float(of_label[1]),
        "nmi_speaker": float(of_speaker[0]),
        "ami_speaker": float(of_speaker[1]),
    }


def project(z: FloatArray, *, view: View, seed: int) -> FloatArray:
    """(N, H) vectors to (N, 2): principal components, or t-SNE from them."""
    if view == "pca" or len(z) < 4:
        flat: FloatArray = PCA(2, random_state=seed).fit_transform(z).astype(np.float32)
        return flat
    perplexity = min(30.0, (len(z) - 1) / 3)
    near: FloatArray = TSNE(2, init="pca", perplexity=perplexity, random_state=seed).fit_transform(z)
    return near


def draw(path: Path, points: pd.DataFrame, column: str, *, view: View) -> None:
    """Two pictures of the same points: coloured by label, and by cluster."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
    for axis, name in zip(axes, (column, "cluster"), strict=True):
        _scatter(axis, points, name)
    figure.suptitle(f"utterance vectors, {'principal components' if view == 'pca' else 't-SNE'}", fontsize=10)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _scatter(axis: Axes, points: pd.DataFrame, name: str) -> None:
    colours = plt.get_cmap("tab20")
    for number, (value, group) in enumerate(points.groupby(name, sort=True)):
        axis.scatter(
            group["x"], group["y"], s=12, alpha=0.7, linewidths=0, color=colours(number % 20), label=str(value)
        )
    axis.set_title(name, fontsize=10)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.legend(fontsize=7, markerscale=1.5, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
