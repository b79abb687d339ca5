"""Hashes of what is written: of a file as its bytes pass through, and of rows however they are cut into batches."""

from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from csgen.switching.switcher import buffers_of


class HashingFile:
    """A file to write to that counts and hashes what passes through."""

    def __init__(self) -> None:
        self.target: Any = None
        self.digest = xxhash.xxh3_128()
        self.bytes = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.bytes += len(data)
        self.target.write(data)
        return len(data)

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


class ContentHash:
    """A hash of rows by column, the same however they are cut into batches."""

    def __init__(self) -> None:
        self._digests: dict[str, Any] = {}

    def update(self, batch: pa.RecordBatch) -> None:
        for name in batch.schema.names:
            self._add(name, batch.column(name))

    def _add(self, name: str, column: pa.Array) -> None:
        digest = self._digests.setdefault(name, xxhash.xxh3_128())
        if pa.types.is_struct(column.type):
            for field in column.type:
                self._add(f"{name}.{field.name}", column.field(field.name))
        elif pa.types.is_list(column.type):
            digest.update(column.value_lengths().to_numpy())
            self._add(f"{name}[]", column.flatten())
        elif pa.types.is_string(column.type):
            data, offsets = buffers_of(column)
            digest.update(np.diff(offsets))
            digest.update(data[offsets[0] : offsets[-1]])
        else:
            digest.update(column.to_numpy(zero_copy_only=False))

    def hexdigest(self) -> str:
        total = xxhash.xxh3_128()
        for name, digest in sorted(self._digests.items()):
            total.update(name.encode() + digest.digest())
        return str(total.hexdigest())
