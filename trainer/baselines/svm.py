"""Support vector machines for classes and for attributes; the majority class."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from trainer.baselines.functionals import Matrix
from trainer.params import BaselinesParams

MAJORITY = "majority"


def build(model: str, options: BaselinesParams, *, n_features: int, attribute: bool = False) -> Any:
    """Return an untrained support vector machine behind a scaler; that is fitted with it, on training rows alone.

    For an attribute it is a support vector regression, whose target is scaled by training rows too, so that its
    epsilon of .1 is a tenth of their deviation whatever the corpus' scale.

    The linear machine's C is divided by the number of features, as scikit-learn's ``gamma="scale"`` divides inside the
    RBF kernel: one number then serves 88 and 6373 features. [ours]
    """
    kernel = {"svm-linear": "linear", "svm-rbf": "rbf"}[model]
    c = options.c / n_features if kernel == "linear" else options.c
    if attribute:
        machine = make_pipeline(StandardScaler(), SVR(kernel=kernel, C=c, gamma="scale", cache_size=500))
        return TransformedTargetRegressor(machine, transformer=StandardScaler())
    return make_pipeline(
        StandardScaler(), SVC(kernel=kernel, C=c, gamma="scale", class_weight="balanced", cache_size=500)
    )


def per_speaker(values: Matrix, speakers: np.ndarray) -> Matrix:
    """z-normalise (N, F) by each speaker's own mean and deviation, without labels; constant features become 0.

    It looks at all of a speaker's utterances, the test speaker's too, and so is never the default.
    """
    result = np.full_like(values, np.nan)
    for speaker in np.unique(speakers):
        rows = (speakers == speaker) & ~np.isnan(values[:, 0])
        if rows.any():
            result[rows] = StandardScaler().fit_transform(values[rows])
    return result
