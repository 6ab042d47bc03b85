"""Parquet parts that the pipeline wrote: their schema, and its metadata under the key ``avser``.

Nothing in a part is believed before it is checked: shards are handed on from one group to another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from trainer.errors import InputError

CONTRACT = 1  # data contract that this trainer reads
# A part may unfold to so many bytes, and to so many times its size: real frames are compressed two to tenfold.
UNFOLDED_BYTES, UNFOLDED_TIMES = 1 << 26, 200

Model = TypeVar("Model", bound=BaseModel)


@contextmanager
def reading(part: Path) -> Iterator[None]:
    """Turn whatever pyarrow says of an unreadable part into an InputError."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{part} is not a readable Parquet file ({error}): delete it and run again") from None


def open_part(part: Path) -> pq.ParquetFile:
    """Open a part, whose pages are checked against their checksums; InputError if it unfolds to far more than it is."""
    with reading(part):
        file = pq.ParquetFile(part, page_checksum_verification=True)
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    size = part.stat().st_size
    unfolded = max(4 * sum(column.num_values for column in columns), sum(c.total_uncompressed_size for c in columns))
    if unfolded > max(UNFOLDED_BYTES, UNFOLDED_TIMES * size):
        raise InputError(f"{part}: {size} bytes that unfold to {unfolded}: no part of a pipeline's table")
    return file


def read_part(part: Path, kind: type[Model], *, columns: Sequence[str] = ()) -> tuple[pa.Schema, Model, dict[str, Any]]:
    """Read the schema of one part, and its metadata: checked by ``kind``, and as they are.

    Raises InputError if it is unreadable, lacks one of ``columns`` or metadata, or follows another contract.
    """
    schema = open_part(part).schema_arrow
    missing = [name for name in columns if name not in schema.names]
    if missing:
        raise InputError(f"{part}: column(s) {', '.join(missing)} missing")
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise InputError(f"{part}: column(s) {', '.join(repeated)} more than once")
    try:
        content = json.loads((schema.metadata or {})[b"avser"])
        contract = content["contract"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InputError(f"{part}: schema metadata 'avser' with a contract is missing") from None
    if contract != CONTRACT or isinstance(contract, bool):
        raise InputError(f"{part}: data contract {contract}, this trainer reads {CONTRACT}")
    return schema, checked(kind, content, where=f"{part}: schema metadata 'avser'"), content


def checked(kind: type[Model], content: Any, *, where: str) -> Model:
    """Validate what a file says of itself; InputError names ``where`` and every wrong field."""
    try:
        return kind.model_validate(content)
    except (ValidationError, RecursionError) as error:
        if isinstance(error, RecursionError):
            raise InputError(f"{where}: nested too deeply") from None
        found = (f"{'.'.join(map(str, item['loc'])) or 'content'}: {item['msg']}" for item in error.errors())
        raise InputError(f"{where}: {'; '.join(found)}") from None
