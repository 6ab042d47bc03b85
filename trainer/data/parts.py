"""Parquet parts that the pipeline wrote: their schema, and its metadata under the key ``avser``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.errors import InputError

CONTRACT = 1  # data contract that this trainer reads


def read_part(part: Path, *, metadata: Sequence[str], columns: Sequence[str] = ()) -> tuple[pa.Schema, dict[str, Any]]:
    """Read schema and metadata of one part.

    Raises InputError if it is unreadable, lacks one of ``columns`` or ``metadata`` keys, or follows another contract.
    """
    try:
        schema = pq.read_schema(part)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{part} is not a readable Parquet file ({error}): delete it and run again") from None
    missing = [name for name in columns if name not in schema.names]
    if missing:
        raise InputError(f"{part}: column(s) {', '.join(missing)} missing")
    keys = ("contract", *metadata)
    try:
        content: dict[str, Any] = json.loads((schema.metadata or {})[b"avser"])
        contract, *_ = [content[key] for key in keys]
    except (KeyError, json.JSONDecodeError):
        raise InputError(
            f"{part}: schema metadata 'avser' with {', '.join(keys[:-1])} and {keys[-1]} is missing"
        ) from None
    if contract != CONTRACT:
        raise InputError(f"{part}: data contract {contract}, this trainer reads {CONTRACT}")
    return schema, content
