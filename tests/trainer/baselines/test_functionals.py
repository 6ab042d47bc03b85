"""The table of functionals: what is wrong with it is named."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.trainer.baselines.tables import write_functionals
from tests.trainer.conftest import labelled_rows
from trainer.baselines.functionals import open_functionals
from trainer.errors import InputError


def test_what_is_wrong_with_the_table_is_named(tmp_path: Path) -> None:
    rows = labelled_rows()
    ids = pd.Series([row["segment_id"] for row in rows])
    with pytest.raises(InputError, match="dvc repro functionals"):
        open_functionals(tmp_path / "none", ids, ("egemaps",))
    folder = write_functionals(tmp_path / "f", rows)
    with pytest.raises(InputError, match="no segment of the shards"):
        open_functionals(folder, ids + "x", ("egemaps",))
    write_functionals(tmp_path / "f", rows, sets={"egemaps": {"feature_names": ["a"]}})
    with pytest.raises(InputError, match=r"holds no compare: add it to functionals\.sets"):
        open_functionals(folder, ids, ("egemaps", "compare"))
    with pytest.raises(InputError, match="6 values, expected 1"):
        open_functionals(folder, ids, ("egemaps",))
    write_functionals(tmp_path / "f", rows, contract=2)
    with pytest.raises(InputError, match="data contract 2"):
        open_functionals(folder, ids, ("egemaps",))
    (folder / "part-000.parquet").write_text("nothing")
    with pytest.raises(InputError, match="not a readable Parquet"):
        open_functionals(folder, ids, ("egemaps",))
