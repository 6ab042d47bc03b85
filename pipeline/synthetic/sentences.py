"""A small grammar of emotionally neutral sentences, written for this project."""

from __future__ import annotations

import numpy as np

_WHO = ("My neighbour", "The baker", "A tall gardener", "The new teacher", "Our old driver", "The young painter",
        "Somebody upstairs", "The man with the map", "A woman from the market", "The girl by the window")  # fmt: skip
_DID = ("put the parcel", "left a blue umbrella", "found the missing key", "parked the small van",
        "moved both wooden chairs", "placed four books", "saw the morning paper", "kept some empty boxes",
        "hung a wet coat", "brought the paper bags")  # fmt: skip
_WHERE = ("near the front door", "under the kitchen table", "beside the post office", "behind the garden wall",
          "on the second floor", "at the end of the road", "by the railway bridge", "in the corner room")  # fmt: skip
_WHEN = ("before eleven o'clock", "on Monday afternoon", "a few minutes ago", "during the lunch break",
         "shortly after breakfast", "about a week ago")  # fmt: skip


def sentence(rng: np.random.Generator) -> str:
    """Draw one statement of 5 to 19 words (about 1.5 to 6 seconds of speech)."""
    parts = [rng.choice(_WHO), rng.choice(_DID)]
    # The short form is rare, so that most utterances hold enough words to vary their loudness.
    parts += [rng.choice(_WHERE)] if rng.random() < 0.85 else []
    parts += [rng.choice(_WHEN)] if rng.random() < 0.4 else []
    return " ".join(str(part) for part in parts) + "."
