#!/usr/bin/env bash
# pyarrow 26.0.1.
#
# Table.from_pylist takes the names of its columns from the first row alone: what only later rows have is
# left out without a word, whereas inside a nested record the fields of all rows are gathered. Outputs
# that come with a field more from the second video on lose that field at the top and keep it one level
# down.
#
# Seen:
#   columns of [{a, s: {x}}, {a, b, s: {x, y}}]: ['a', 's'] s: ['x', 'y']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check pyarrow==26.0.1

venv/bin/python - <<'PYTHON'
import pyarrow as pa

rows = [{"a": 1, "s": {"x": 1}}, {"a": 2, "b": 3, "s": {"x": 1, "y": 2}}]
table = pa.Table.from_pylist(rows)
nested = [field.name for field in table.schema.field("s").type]
print("columns of [{a, s: {x}}, {a, b, s: {x, y}}]:", table.column_names, "s:", nested)
assert table.column_names == ["a", "s"]
assert nested == ["x", "y"]
PYTHON
