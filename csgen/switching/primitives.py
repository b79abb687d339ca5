"""Small compiled pieces that the kernels share: unaligned loads and copies, UTF-8 decoding, the counter-based hash.

Numba's disk cache watches only the file of a cached function, so after a change here delete the caches of the
kernels that inline these pieces (`make clean-cache`; the test suite does it by itself).
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_Function = TypeVar("_Function", bound=Callable[..., Any])
emitted: Callable[[Callable[..., Any]], Callable[..., Any]] = intrinsic  # the body writes LLVM instructions
# Without Numba's reference counts, which made up more than half of the kernels' time; this rules out allocations too.
inlined: Callable[[_Function], _Function] = njit(nogil=True, forceinline=True, _nrt=False)
compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True, _nrt=False)

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)

BLOCK = 64  # bytes that one step of the scanners looks at
SLACK = 64  # bytes that must be readable behind a text, and writable behind an output


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, pointee: Any) -> Any:
    """A pointer of type `pointee*` to byte `index` of an array."""
    data = context.make_array(array_type)(context, builder, array).data
    address = builder.gep(data, [index], source_etype=ir.IntType(8))
    return builder.bitcast(address, pointee.as_pointer())


@emitted
def load_u64(typingctx: Any, array: Any, index: Any) -> Any:
    """The 8 bytes at byte `index` of an array as a little-endian uint64; no bounds check."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1], word)
        return builder.load(pointer, align=1, typ=word)

    return types.uint64(array, types.int64), codegen


@emitted
def copy_32(typingctx: Any, target: Any, target_index: Any, source: Any, source_index: Any) -> Any:
    """Copy 32 bytes between uint8 arrays; no bounds check."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), 32)
        source_pointer = _pointer(context, builder, signature.args[2], arguments[2], arguments[3], vector)
        target_pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1], vector)
        builder.store(builder.load(source_pointer, align=1, typ=vector), target_pointer, align=1)
        return context.get_dummy_value()

    return types.void(target, types.int64, source, types.int64), codegen


@emitted
def scan_block(typingctx: Any, array: Any, index: Any) -> Any:
    """Masks over the 64 bytes at `index`, bit i for byte i: ASCII letters and digits, non-ASCII bytes, apostrophes."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8)
        vector = ir.VectorType(byte, BLOCK)

        def splat(value: int) -> Any:
            return ir.Constant(vector, [value] * BLOCK)

        def mask(bits: Any) -> Any:
            return builder.bitcast(bits, ir.IntType(BLOCK))

        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1], vector)
        block = builder.load(pointer, align=1, typ=vector)
        letters = builder.icmp_unsigned("<", builder.sub(builder.or_(block, splat(0x20)), splat(ord("a"))), splat(26))
        digits = builder.icmp_unsigned("<", builder.sub(block, splat(ord("0"))), splat(10))
        high = builder.icmp_signed("<", block, splat(0))
        apostrophes = builder.icmp_unsigned("==", block, splat(ord("'")))
        masks = [mask(builder.or_(letters, digits)), mask(high), mask(apostrophes)]
        return context.make_tuple(builder, signature.return_type, masks)

    return types.UniTuple(types.uint64, 3)(array, types.int64), codegen


@emitted
def trailing_zeros(typingctx: Any, word: Any) -> Any:
    """The number of zero bits below the lowest set bit; 64 for 0."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


@emitted
def count_ones(typingctx: Any, word: Any) -> Any:
    """The number of set bits."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), codegen


@emitted
def prefetch(typingctx: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of element `index` of an array (flat, C order), which is read soon."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        element = context.get_value_type(signature.args[0].dtype)
        address = builder.gep(data, [arguments[1]], source_etype=element)
        bytes_pointer = builder.bitcast(address, ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [bytes_pointer.type, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [bytes_pointer.type], kind)
        builder.call(function, [bytes_pointer, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen


@inlined
def natural(number: int) -> int:
    """The same number, below 2**32, in a form of which the compiler knows that as an index it needs no check."""
    return np.int64(np.uint32(number))


@inlined
def mix(word: np.uint64) -> np.uint64:
    """SplitMix64's finaliser: a bijection of 64-bit words in which every bit depends on every bit.

    https://doi.org/10.1145/2714064.2660195
    """
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    return word ^ (word >> np.uint64(31))


@inlined
def copy_bytes(target: Any, target_index: int, source: Any, source_index: int, length: int) -> None:
    """Copy `length` bytes, 32 at a time and 64 at least; up to 63 bytes behind the end are read and overwritten."""
    copy_32(target, target_index, source, source_index)
    copy_32(target, target_index + 32, source, source_index + 32)
    done = 64
    while done < length:
        copy_32(target, target_index + done, source, source_index + done)
        done += 32


@inlined
def copy_short(target: Any, target_index: int, source: Any, source_index: int, length: int) -> None:
    """As copy_bytes, but 32 bytes at least: for what is rarely longer."""
    copy_32(target, target_index, source, source_index)
    done = 32
    while done < length:
        copy_32(target, target_index + done, source, source_index + done)
        done += 32


@inlined
def sequence_length(lead: int) -> int:
    """Bytes of the UTF-8 sequence that begins with byte `lead`."""
    if lead < 0x80:
        return 1
    if lead < 0xE0:
        return 2
    return 3 if lead < 0xF0 else 4


@inlined
def decode(data: Any, index: int) -> int:
    """The code point whose UTF-8 sequence begins at `index`."""
    lead = np.int64(data[index])
    if lead < 0x80:
        return lead
    second = np.int64(data[index + 1]) & 0x3F
    if lead < 0xE0:
        return ((lead & 0x1F) << 6) | second
    third = np.int64(data[index + 2]) & 0x3F
    if lead < 0xF0:
        return ((lead & 0x0F) << 12) | (second << 6) | third
    return ((lead & 0x07) << 18) | (second << 12) | (third << 6) | (np.int64(data[index + 3]) & 0x3F)


@inlined
def class_at(data: Any, index: int, pages: Any, values: Any) -> int:
    """The class bits (csgen.characters) of the character that begins at `index`."""
    code_point = decode(data, index)
    return np.int64(values[pages[code_point >> 7], code_point & 127])
