"""The columns of a table of training pairs."""

import pyarrow as pa

REQUIRED_COLUMNS = {
    "query_id": pa.string(),
    "query": pa.string(),
    "passage_id": pa.string(),
    "passage": pa.string(),
    "label": pa.int8(),
}
OPTIONAL_COLUMNS = {
    "query_language": pa.string(),
    "passage_language": pa.string(),
    "score": pa.float32(),
}
PAIR_COLUMNS = REQUIRED_COLUMNS | OPTIONAL_COLUMNS

# Enough to undo a switch exactly: bytes [start, end) of the new text stood as `source` in the old one.
SWITCHES = pa.list_(
    pa.struct([("start", pa.int32()), ("end", pa.int32()), ("source", pa.string()), ("language", pa.string())])
)


def pair_schema(names: list[str]) -> pa.Schema:
    """The Arrow schema of pairs with the columns `names`, in the format's order."""
    return pa.schema([(name, kind) for name, kind in PAIR_COLUMNS.items() if name in names])
