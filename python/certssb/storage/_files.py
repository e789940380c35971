"""Reading and writing files of ours, and of strangers: one door, whole files, bounded sizes, one kind of error.

Writing is the core's (drafts, then one renaming); so is opening, which takes regular files of bounded size only. What is
here looks into JSON and NumPy archives before anything in them is built.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import zipfile
import zlib
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import parameter_error

__all__ = [
    "DATA_LIMIT",
    "TEXT_LIMIT",
    "Damaged",
    "archive",
    "array",
    "arrays",
    "gunzip",
    "npz",
    "parse",
    "read",
    "write",
    "write_all",
]

PathLike: TypeAlias = "str | os.PathLike[str]"

TEXT_LIMIT = 1 << 26
"""Bytes that a JSON file of ours may have."""

DATA_LIMIT = 1 << 36
"""Bytes that a file of arrays may have: 64 GiB."""

_ROOM = 1 << 28
_RATIO = 100
_PARTS = 4096
_DEPTH = 64


class Damaged(ValueError):
    """What is inside a file is not what it should be; the caller names the file."""


def read(path: PathLike, limit: int = DATA_LIMIT) -> bytes:
    """The content of a regular file of at most `limit` bytes."""
    return _core.read_file(path, limit)


def write(path: PathLike, content: bytes) -> None:
    """Put a file at a path in one step, whatever was there."""
    _core.sweep_folder(os.path.dirname(path) or ".")
    _core.write_file(path, content)


def write_all(folder: PathLike, files: dict[str, bytes]) -> None:
    """Put files into a folder: all are written before the first gets its name, in the order given."""
    _core.sweep_folder(folder)
    _core.write_files(folder, list(files.items()))


def parse(content: bytes) -> Any:
    """The value of a JSON text of ours: finite numbers that fit into 64 bits, text that can be written, no key twice."""
    try:
        value = json.loads(
            content.decode("utf-8"), parse_constant=_no_constant, parse_int=_integer, parse_float=_float,
            object_pairs_hook=_object,
        )  # fmt: skip
    except Damaged:
        raise
    except UnicodeDecodeError:
        raise Damaged("it is not UTF-8") from None
    except RecursionError:
        raise Damaged("it is nested too deeply") from None
    except ValueError as error:
        raise Damaged(str(error)) from None
    _check(value, _DEPTH)
    return value


def _no_constant(name: str) -> Any:
    raise Damaged(f"{name} is not a number")


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        raise Damaged(f"the number {text[:20]}... has more than 64 bits")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Damaged(f"the number {text[:20]} is too large")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Damaged("a key occurs in it twice")
    return value


def _check(value: Any, depth: int) -> None:
    if depth == 0:
        raise Damaged("it is nested too deeply")
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise Damaged("a text in it has half of a surrogate pair") from None
    elif isinstance(value, dict):
        for key, part in value.items():
            _check(key, depth)
            _check(part, depth - 1)
    elif isinstance(value, list):
        for part in value:
            _check(part, depth - 1)


def npz(arrays: dict[str, npt.NDArray[Any]], *, packed: bool = False) -> bytes:
    """Arrays as a ``.npz``, uncompressed unless it shall be `packed`."""
    buffer = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def array(content: bytes) -> npt.NDArray[Any]:
    """The array of a ``.npy``."""
    try:
        return _read_array(io.BytesIO(content), len(content))
    except (Damaged, MemoryError):
        raise
    except RecursionError:
        raise Damaged("its header is nested too deeply") from None
    except Exception as error:  # noqa: BLE001 - whatever damaged bytes make NumPy do
        raise Damaged(_words(error)) from None


def archive(content: bytes, *, packed: bool = False) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a ``.npz`` by name; `packed` allows compressed ones, up to a ratio that data have.

    Sizes are looked at before anything is unpacked: those of parts, of all of them, and those that arrays say of
    themselves.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            parts = opened.infolist()
            _check_parts(parts, len(content), packed)
            arrays = {}
            for part in parts:
                with opened.open(part) as stream:
                    arrays[part.filename.removesuffix(".npy")] = _read_array(stream, part.file_size)
            return arrays
    except (Damaged, MemoryError):
        raise
    except RecursionError:
        raise Damaged("a header in it is nested too deeply") from None
    except Exception as error:  # noqa: BLE001 - whatever damaged bytes make the readers of archives do
        raise Damaged(_words(error)) from None


def arrays(name: str, expected: str, path: PathLike) -> Any:
    """The array of a user's ``.npy``, or all arrays of a ``.npz`` by name; `name` is the parameter's."""
    content = read(path)
    try:
        return archive(content, packed=True) if content.startswith(b"PK") else array(content)
    except Damaged as error:
        raise parameter_error(name, expected, f"'{os.fspath(path)}' ({error})") from None


def gunzip(content: bytes) -> bytes:
    """What was packed by gzip, up to a ratio that data have."""
    limit = max(_RATIO * len(content), _ROOM)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            plain = stream.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Damaged(_words(error)) from None
    if len(plain) > limit:
        raise Damaged(f"it is {len(content):,} bytes that unpack to more than {limit:,}")
    return plain


def _check_parts(parts: list[zipfile.ZipInfo], size: int, packed: bool) -> None:
    names = {part.filename for part in parts}
    if len(names) != len(parts) or len(parts) > _PARTS:
        raise Damaged("it has too many parts, or one twice")
    for part in parts:
        plain = part.compress_type == zipfile.ZIP_STORED and part.file_size == part.compress_size
        if not plain and not packed:
            raise Damaged(f"its part '{part.filename}' is compressed, and such files are not")
        if part.flag_bits & 1 or not part.filename.endswith(".npy"):
            raise Damaged(f"its part '{part.filename}' is encrypted, or no array")
    whole = sum(part.file_size for part in parts)
    # Stored parts that lie over each other, and packed ones that are nearly nothing, are both more than what is there.
    limit = max(_RATIO * size, _ROOM) if packed else size
    if whole > limit:
        raise Damaged(
            f"it is {size:,} bytes that unpack to {whole:,}; write data that are so much larger with np.savez, uncompressed"
        )


def _read_array(stream: Any, size: int) -> npt.NDArray[Any]:
    """One array of `size` bytes, its header included."""
    major, _ = np.lib.format.read_magic(stream)
    if major == 1:
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif major == 2:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise Damaged("an array in it has a format that is not known")
    if dtype.kind not in "biufcSUmM" or dtype.itemsize == 0 or dtype.subdtype is not None:
        plain = "; write them as numbers or text, as array.astype(str) is" if dtype.kind == "O" else ""
        raise Damaged(
            f"an array in it has values of type {dtype}, which is not a type of plain values{plain}"
        )
    count = math.prod(shape)
    if any(isinstance(n, bool) or n < 0 for n in shape) or len(shape) > 32:
        raise Damaged(f"an array in it has the shape {shape}")
    if stream.tell() + count * dtype.itemsize != size:
        raise Damaged(f"an array in it has the shape {shape}, which is not what is there")
    content = bytearray(stream.read())
    if len(content) != count * dtype.itemsize:
        raise Damaged("it ends early")
    flat = np.frombuffer(content, dtype=dtype)
    _check_text(flat)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _check_text(values: npt.NDArray[Any]) -> None:
    """Text is kept as numbers of characters, of which some are none."""
    if values.dtype.kind != "U":
        return
    points = values.view(np.dtype(np.uint32).newbyteorder(values.dtype.byteorder))
    if bool(((points > 0x10FFFF) | ((points >= 0xD800) & (points < 0xE000))).any()):
        raise Damaged("a text in it has half of a surrogate pair")


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
