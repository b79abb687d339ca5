"""Compiled loops of the packed transformer on a CPU: attention within each sequence, and the edges of int8 products.

All in float32 and with one thread; knows arrays alone. Attention works on transposed tiles of 32 queries, so that
every step (products, maxima, exponentials, sums) runs along the queries with vectors of 16, without a horizontal sum.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_LANES = 16  # float32 values of a vector of 512 bits; narrower machines split it
_ROWS = 8  # rows of a product that stay in registers, two vectors each
_TILE = 32  # queries of a tile
_SHIFT = 12582912.0  # 1.5 * 2**23
HEAD_MULTIPLE = _LANES  # the width of a head must be a multiple of it
COLUMN_MULTIPLE = _LANES  # the same of the columns of finish_product and finish_gelu
LEAST_TOKENS = _ROWS  # in a call of attend_sequences

_Function = TypeVar("_Function", bound=Callable[..., Any])
_emitted: Callable[[Callable[..., Any]], Callable[..., Any]] = intrinsic
_compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True, fastmath={"contract"})
_inlined: Callable[[_Function], _Function] = njit(nogil=True, forceinline=True, fastmath={"contract"})


class _Vector(types.Type):
    """16 values of float32, which stay in registers."""

    def __init__(self) -> None:
        super().__init__(name="float32x16")


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.FloatType(), _LANES))


_vector = _Vector()


def _lanewise(emit: Callable[[Any, Any, Any], Any]) -> Any:
    """An operation on two vectors from what writes its instructions."""

    def operation(typingctx: Any, left: Any, right: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return emit(builder, *arguments)

        return _vector(_vector, _vector), codegen

    return _emitted(operation)


def _emit_exponent(builder: Any, left: Any, right: Any) -> Any:
    words = ir.VectorType(ir.IntType(32), _LANES)
    shifted = builder.shl(builder.bitcast(right, words), ir.Constant(words, [23] * _LANES))
    return builder.bitcast(builder.add(builder.bitcast(left, words), shifted), left.type)


_plus = _lanewise(lambda builder, left, right: builder.fadd(left, right, flags=["contract"]))
_minus = _lanewise(lambda builder, left, right: builder.fsub(left, right))
_times = _lanewise(lambda builder, left, right: builder.fmul(left, right, flags=["contract"]))
_over = _lanewise(lambda builder, left, right: builder.fdiv(left, right))
_maximum = _lanewise(lambda builder, left, right: builder.select(builder.fcmp_ordered(">", left, right), left, right))
_raise_exponent = _lanewise(_emit_exponent)  # left * 2**n, where n stands in the lowest bits of right


@_emitted
def _from_whole(typingctx: Any, value: Any) -> Any:
    """Lanes that hold the bits of int32 as float32."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words = builder.bitcast(arguments[0], ir.VectorType(ir.IntType(32), _LANES))
        return builder.sitofp(words, arguments[0].type)

    return _vector(_vector), codegen


@_emitted
def _spread(typingctx: Any, value: Any) -> Any:
    """The same value in every lane."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _emit_spread(builder, arguments[0])

    return _vector(types.float32), codegen


def _emit_spread(builder: Any, scalar: Any) -> Any:
    undefined = ir.Constant(ir.VectorType(ir.FloatType(), _LANES), ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), _LANES), None))


def _emit_place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    place = builder.gep(data, [index], source_etype=ir.FloatType())
    return builder.bitcast(place, ir.VectorType(ir.FloatType(), _LANES).as_pointer())


@_emitted
def _load(typingctx: Any, array: Any, index: Any) -> Any:
    """16 elements of a flat float32 array; no bounds check."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _emit_place(context, builder, signature.args[0], *arguments)
        return builder.load(place, align=4, typ=ir.VectorType(ir.FloatType(), _LANES))

    return _vector(array, types.int64), codegen


@_emitted
def _store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write 16 elements of a flat float32 array; no bounds check."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _emit_place(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, _vector), codegen


@_emitted
def _multiply(
    typingctx: Any, out: Any, out_index: Any, left: Any, left_index: Any, row_step: Any, depth_step: Any,
    right: Any, depth: Any,
) -> Any:  # fmt: skip
    """out[r, :] = sum over k < depth of left[r * row_step + k * depth_step] * right[k, :], for r < 8, 32 columns.

    `out` and `right` are flat with rows of 32; `left` is flat; no bounds check.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        real, word = ir.FloatType(), ir.IntType(64)
        vector = ir.VectorType(real, _LANES)
        target, target_at, source, source_at, row_step, depth_step, factors, depth = arguments
        kinds = signature.args
        data = context.make_array(kinds[2])(context, builder, source).data
        sums = [[cgutils.alloca_once(builder, vector) for _ in range(2)] for _ in range(_ROWS)]
        for row in sums:
            for cell in row:
                builder.store(ir.Constant(vector, None), cell)
        with cgutils.for_range(builder, depth) as loop:
            base = builder.mul(loop.index, ir.Constant(word, _TILE))
            halves = []
            for half in range(2):
                index = builder.add(base, ir.Constant(word, half * _LANES))
                halves.append(
                    builder.load(_emit_place(context, builder, kinds[6], factors, index), align=4, typ=vector)
                )
            place = builder.add(source_at, builder.mul(loop.index, depth_step))
            for number, row in enumerate(sums):
                step = builder.mul(row_step, ir.Constant(word, number))
                address = builder.gep(data, [builder.add(place, step)], source_etype=real)
                spread = _emit_spread(builder, builder.load(address, typ=real))
                for cell, factor in zip(row, halves, strict=True):
                    product = builder.fmul(spread, factor, flags=["contract"])
                    builder.store(builder.fadd(builder.load(cell, typ=vector), product, flags=["contract"]), cell)
        for number, row in enumerate(sums):
            for half, cell in enumerate(row):
                offset = ir.Constant(word, number * _TILE + half * _LANES)
                place = _emit_place(context, builder, kinds[0], target, builder.add(target_at, offset))
                builder.store(builder.load(cell, typ=vector), place, align=4)
        return context.get_dummy_value()

    integer = types.int64
    return types.void(out, integer, left, integer, integer, integer, right, integer), codegen


@_inlined
def _exponential(value: Any) -> Any:
    """e**value of each lane, for values <= 0, to 2 units in the last place; below -87 it is about 1e-38."""
    power = _times(_maximum(value, _spread(-87.0)), _spread(1.4426950408889634))
    shifted = _plus(power, _spread(_SHIFT))  # the lowest bits are now the nearest whole number
    rest = _minus(power, _minus(shifted, _spread(_SHIFT)))
    series = _spread(1.54035304e-4)  # Taylor's coefficients of 2**rest, |rest| <= 1/2
    series = _plus(_times(series, rest), _spread(1.33335581e-3))
    series = _plus(_times(series, rest), _spread(9.61812911e-3))
    series = _plus(_times(series, rest), _spread(5.55041087e-2))
    series = _plus(_times(series, rest), _spread(0.240226507))
    series = _plus(_times(series, rest), _spread(0.693147181))
    series = _plus(_times(series, rest), _spread(1.0))
    return _raise_exponent(series, shifted)


@_compiled
def attend_sequences(qkv: Floats, offsets: NDArray[np.int64], head_width: int, window: int, out: Floats) -> None:
    """Softmax attention of each sequence to itself: `qkv` (tokens, 3 * width), `out` (tokens, width), C order.

    Sequence i is rows offsets[i] to offsets[i + 1]; 8 tokens or more in all. Tokens more than `window` apart do not
    see each other.
    """
    total, width = out.shape
    step = 3 * width
    source, target = qkv.reshape(-1), out.reshape(-1)
    longest = 0
    for sequence in range(len(offsets) - 1):
        longest = max(longest, offsets[sequence + 1] - offsets[sequence])
    queries = np.zeros(head_width * _TILE, np.float32)
    weights = np.empty((longest + 2 * _ROWS) * _TILE, np.float32)  # behind room for rows of the sequence before
    mixed = np.empty(head_width * _TILE, np.float32)
    scale = np.float32(1.0 / np.sqrt(head_width))
    for sequence in range(len(offsets) - 1):
        start, stop = offsets[sequence], offsets[sequence + 1]
        for first in range(start, stop, _TILE):
            last = min(first + _TILE, stop)
            low, high = max(start, first - window), min(stop, last + window)
            for head in range(0, width, head_width):
                _transpose(source, first * step + head, step, last - first, head_width, queries)
                for key in range(low, high, _ROWS):
                    row = min(key, total - _ROWS)
                    place = row * step + width + head
                    _multiply(weights, (_ROWS + row - low) * _TILE, source, place, step, 1, queries, head_width)
                if window < stop - start:
                    _hide_far(weights, first, last, low, high, window)
                _soften(weights, high - low, scale)
                for k in range(0, head_width, _ROWS):
                    place = low * step + 2 * width + head + k
                    _multiply(mixed, k * _TILE, source, place, 1, step, weights[_ROWS * _TILE :], high - low)
                _transpose_back(mixed, last - first, head_width, target, first * width + head, width)


@_inlined
def _transpose(source: Floats, place: int, step: int, rows: int, head_width: int, into: Floats) -> None:
    for row in range(rows):
        for k in range(head_width):
            into[k * _TILE + row] = source[place + row * step + k]


@_inlined
def _transpose_back(tile: Floats, rows: int, head_width: int, into: Floats, place: int, step: int) -> None:
    for row in range(rows):
        for k in range(head_width):
            into[place + row * step + k] = tile[k * _TILE + row]


@_inlined
def _hide_far(weights: Floats, first: int, last: int, low: int, high: int, window: int) -> None:
    for key in range(low, high):
        for token in range(first, last):
            if abs(token - key) > window:
                weights[(_ROWS + key - low) * _TILE + token - first] = np.float32(-1e30)


@_inlined
def _soften(weights: Floats, keys: int, scale: np.float32) -> None:
    """Each of the 32 columns of `keys` rows of `weights` to the softmax of its values times `scale`."""
    for half in range(_ROWS * _TILE, (_ROWS + 1) * _TILE, _LANES):
        top = _spread(-1e30)
        for row in range(keys):
            top = _maximum(top, _load(weights, row * _TILE + half))
        total = _spread(0.0)
        for row in range(keys):
            value = _exponential(_times(_minus(_load(weights, row * _TILE + half), top), _spread(scale)))
            _store(weights, row * _TILE + half, value)
            total = _plus(total, value)
        share = _over(_spread(1.0), total)
        for row in range(keys):
            _store(weights, row * _TILE + half, _times(_load(weights, row * _TILE + half), share))


@_compiled
def quantise_rows(values: Floats, out: NDArray[np.int8], scales: Floats) -> None:
    """Each row as whole numbers from -127 to 127 times its scale: the largest absolute value over 127."""
    bits = values.view(np.int32)
    for row in range(values.shape[0]):
        top = np.int32(0)
        for column in range(values.shape[1]):
            top = np.int32(max(top, np.int32(bits[row, column] & 0x7FFFFFFF)))  # ordered as absolute values are
        largest = max(np.int32(top).view(np.float32), np.float32(1e-20))
        scales[row] = largest * np.float32(1 / 127)
        factor = np.float32(127) / largest
        for column in range(values.shape[1]):
            out[row, column] = np.int8(np.rint(values[row, column] * factor))


@_compiled
def finish_product(values: Floats, rows: Floats, columns: Floats, bias: Floats) -> None:
    """In place values[i, j] = sums[i, j] * rows[i] * columns[j] + bias[j], where sums is `values` seen as int32.

    The number of columns must be a multiple of 16.
    """
    for row in range(values.shape[0]):
        factor = _spread(rows[row])
        for column in range(0, values.shape[1], _LANES):
            sums = _from_whole(_load(values[row], column))
            scaled = _times(sums, _times(factor, _load(columns, column)))
            _store(values[row], column, _plus(scaled, _load(bias, column)))


@_compiled
def finish_gelu(values: Floats, rows: Floats, columns: Floats, bias: Floats) -> None:
    """The same through GELU."""
    for row in range(values.shape[0]):
        factor = _spread(rows[row])
        for column in range(0, values.shape[1], _LANES):
            sums = _from_whole(_load(values[row], column))
            scaled = _times(sums, _times(factor, _load(columns, column)))
            _store(values[row], column, _gelu(_plus(scaled, _load(bias, column))))


@_inlined
def _gelu(value: Any) -> Any:
    """value * (1 + erf(value / sqrt(2))) / 2, erf as a quotient of polynomials (Eigen's for float32), to about 2e-6."""
    x = _maximum(_times(value, _spread(0.7071067811865476)), _spread(-4.0))
    x = _minus(_spread(0.0), _maximum(_minus(_spread(0.0), x), _spread(-4.0)))
    square = _times(x, x)
    above = _plus(_times(_spread(-2.72614225801306e-10), square), _spread(2.77068142495902e-08))
    above = _plus(_times(above, square), _spread(-2.10102402082508e-06))
    above = _plus(_times(above, square), _spread(-5.69250639462346e-05))
    above = _plus(_times(above, square), _spread(-7.34990630326855e-04))
    above = _plus(_times(above, square), _spread(-2.95459980854025e-03))
    above = _plus(_times(above, square), _spread(-1.60960333262415e-02))
    below = _plus(_times(_spread(-1.45660718464996e-05), square), _spread(-2.13374055278905e-04))
    below = _plus(_times(below, square), _spread(-1.68282697438203e-03))
    below = _plus(_times(below, square), _spread(-7.37332916720468e-03))
    below = _plus(_times(below, square), _spread(-1.42647390514189e-02))
    half = _times(_spread(0.5), value)
    return _plus(half, _times(half, _over(_times(x, above), below)))
