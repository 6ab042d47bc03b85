"""Any CSV that names files and labels, by a map from its columns to the manifest's."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, create_model, field_validator

from pipeline.config import Config
from pipeline.corpora.base import About, Corpus
from pipeline.corpora.reading import Reading, one_line
from pipeline.corpora.spelling import OPTION, note_strange, spellings
from pipeline.corpora.tables import SEPARATORS, Table, read_table
from pipeline.errors import InputError
from pipeline.manifest.row import COLUMNS, REQUIRED, ManifestRow, suggestion


class _TableOptions(Config):
    """The table itself; an option for every column of the manifest is added below."""

    table: str = Field("labels.csv", description="the CSV, relative to the root")
    delimiter: str = Field(",", description=r"what separates its columns: one character, or \t for a tab")
    emotions: str = Field("", description=OPTION)

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str) -> str:
        value = next((mark for mark, spelt in SEPARATORS.items() if value == spelt), value)
        if len(value) != 1 or value in '"\r\n':
            raise ValueError(f"{value!r} is not one character that can separate columns")
        return value


# A value of an option is a column of the table, a text with columns in braces, or a fixed text after "=".
_MAPPED: dict[str, Any] = {name: (str, Field("", description=f"what gives {name}")) for name in COLUMNS}
CsvOptions = create_model("CsvOptions", __base__=_TableOptions, **_MAPPED)


class Csv(Corpus[Config]):
    """A table with a row a clip. Columns of the manifest that no option maps are taken by their own names.

    ``path=wav/{name}.wav speaker=who corpus==mine`` reads: the path is made from column ``name``, the speaker
    is column ``who``, and ``corpus`` is the fixed text ``mine``.
    """

    about = About("any CSV", "your own table", "yours", "")
    name = "CSV"
    example = "labels.csv"
    Options = CsvOptions

    def fill(self, reading: Reading) -> None:
        """Add a row for each row of the table."""
        options = self.options.model_dump()
        table = reading.root / options["table"]
        if not table.is_file():
            raise reading.nothing_found(f"{options['table']} (option table)")
        content = read_table(table, options["delimiter"])
        templates = {name: self._template(name, options[name], content, table) for name in COLUMNS}
        for name in REQUIRED:
            if not templates[name]:
                raise InputError(
                    f"{table} has no column {name!r}; say what gives it: --option {name}=COLUMN, "
                    f"--option {name}='text with {{COLUMN}}' or --option {name}==TEXT. It has: "
                    f"{', '.join(content.columns)}{content.hint}"
                )
        spelt = spellings(options["emotions"])
        strange: Counter[str] = Counter()
        for number, record in content.rows.items():
            values = {key: one_line(value) for key, value in record.items()}
            cells = {name: template.format_map(values) for name, template in templates.items() if template}
            emotion = cells.get("emotion", "").lower()
            if emotion:
                cells["emotion"] = spelt.get(emotion, "")
                strange[emotion] += emotion not in spelt
            try:
                reading.rows.append(ManifestRow.model_validate({k: v for k, v in cells.items() if v}))
            except ValidationError as error:
                detail = error.errors()[0]
                where = detail["loc"][0] if detail["loc"] else "end"
                raise InputError(
                    f"{table}, row {number}: {where}: {detail['msg']} (given {detail['input']!r})"
                ) from None
        note_strange(reading, strange)

    def _template(self, name: str, given: str, content: Table, table: Path) -> str:
        """Return a format string over the table's columns, or nothing."""
        if given.startswith("="):
            return given[1:].replace("{", "{{").replace("}", "}}")
        used = re.findall(r"\{([^{}]*)\}", given) if "{" in given else [given or name]
        for column in used:
            if column not in content.columns:
                if not given:
                    return ""
                raise InputError(
                    f"{table} has no column {column!r}{suggestion(column, content.columns)}. "
                    f"It has: {', '.join(content.columns)}{content.hint}"
                )
        return given if "{" in given else "{" + used[0] + "}"
