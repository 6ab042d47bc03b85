"""A picture of predictions: what was heard, over the time of each file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from avser.recognising import Model

MOST_FILES = 12  # panels of a picture
COLOURS = {
    "anger": "tab:red",
    "disgust": "tab:olive",
    "fear": "tab:purple",
    "happiness": "tab:orange",
    "sadness": "tab:blue",
    "surprise": "tab:pink",
    "neutral": "0.75",
    "contempt": "tab:brown",
    "calm": "tab:cyan",
    "boredom": "tab:gray",
}


def draw_predictions(table: pd.DataFrame, model: Model, output: Path) -> None:
    """Write a picture with a panel a file, at most `MOST_FILES`, the first ones.

    Where one class is the answer, its probabilities are stacked to 1 over each segment; else each class or attribute
    is a line. Gaps are where nobody speaks.

    Args:
        table: usable rows of `avser.recognising.Model.predict`.
        model: that predicted them.
        output: picture file; its suffix picks the format.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    files = list(dict.fromkeys(table["file"]))
    shown = files[:MOST_FILES]
    objective = model.predictor.objective
    columns = [f"p_{name}" if objective.is_classes else name for name in model.names]
    spare = [colour for colour in mpl.color_sequences["tab20"] if colour not in COLOURS.values()]
    colours = [COLOURS.get(name, spare[index % len(spare)]) for index, name in enumerate(model.names)]
    height = 1.2 + 1.5 * len(shown)
    figure, axes = plt.subplots(len(shown), 1, figsize=(11, height), layout="constrained", squeeze=False)
    for axis, file in zip(axes[:, 0], shown, strict=True):
        rows = table[table["file"] == file].sort_values("start")
        below = 0.0 * rows["start"]
        for column, colour, name in zip(columns, colours, model.names, strict=True):
            if objective.one_class:
                width = rows["end"] - rows["start"]
                axis.bar(rows["start"], rows[column], width, bottom=below, align="edge", color=colour, label=name,
                         edgecolor="white", linewidth=0.5)  # fmt: skip
                below = below + rows[column]
            else:
                axis.hlines(rows[column], rows["start"], rows["end"], color=colour, label=name, linewidth=2.5)
        axis.set_xlim(min(0.0, rows["start"].min()), rows["end"].max())
        if objective.is_classes:
            axis.set_ylim(0, 1)
            axis.set_yticks([0, 0.5, 1])
        axis.set_title(file, fontsize=9, loc="left")
        axis.tick_params(labelsize=8)
    axes[-1, 0].set_xlabel("time in the file, s", fontsize=9)
    figure.supylabel("probability" if objective.is_classes else "predicted value", fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 8), fontsize=9, frameon=False)
    if len(files) > len(shown):
        figure.text(0.99, 0.005, f"and {len(files) - len(shown)} more files in the table", ha="right", fontsize=8)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=110, metadata={"Software": None} if output.suffix == ".png" else None)
    plt.close(figure)
