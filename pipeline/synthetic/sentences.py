"""A small grammar of emotionally neutral sentences, written for this project."""

from __future__ import annotations

import numpy as np

_WHO = ("My neighbour", "The baker", "A tall gardener", "The new teacher", "Our old driver", "The young painter",
        "The night nurse", "The old postman", "A market man", "The girl upstairs")  # fmt: skip
_DID = ("put the parcel", "left a blue umbrella", "found a lost key", "parked the small van",
        "moved the heavy chairs", "placed four books", "saw the morning paper", "kept some empty boxes",
        "hung a wet coat", "brought the paper bags")  # fmt: skip
_WHERE = ("near the front door", "under the kitchen table", "at the post office", "at the garden wall",
          "on the second floor", "behind the old mill", "by the railway bridge", "in the corner room")  # fmt: skip
_WHEN = ("before noon", "on Monday evening", "a few minutes ago", "during the lunch break",
         "after breakfast", "about a week ago")  # fmt: skip


def sentence(rng: np.random.Generator) -> str:
    """Draw one statement of 5 to 11 words (about 1 to 4.5 seconds of speech)."""
    parts = [rng.choice(_WHO), rng.choice(_DID)]
    # The short form is rare, so that most utterances hold enough words to vary their loudness. None says both where and
    # when: the longest utterance sets the number of chunks of all.
    parts += [rng.choice(_WHERE + _WHEN)] if rng.random() < 0.85 else []
    return " ".join(str(part) for part in parts) + "."
