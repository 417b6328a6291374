"""Files: written whole or not at all, read packed or not.

>>> with whole("counts.json") as beside:
...     beside.write_text("{}")
>>> unpacked(gzip.compress(b"p cnf 0 0"), "formula.cnf")
b'p cnf 0 0'
"""

import bz2
import contextlib
import gzip
import lzma
import os
import shutil
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

_UNPACK = {b"\x1f\x8b": gzip.decompress, b"\xfd7zXZ\0": lzma.decompress, b"BZh": bz2.decompress}
_BROKEN = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)


class ParseError(ValueError):
    """A file that is not as it should be, in one line: ``FILE:LINE: expected ..., given ...``."""


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[Path]:
    """A path beside ``path``, which takes its place once the block is through.

    It may become a file or a folder; whatever stops the block leaves the old one as it was. The
    name ends as that of ``path``, as writers choose formats by it.
    """
    target = Path(path)
    beside = target.with_name(f".{os.getpid()}-{target.name}")
    try:
        yield beside
        if beside.is_dir() and target.is_dir():
            shutil.rmtree(target)
        beside.replace(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True) if beside.is_dir() else beside.unlink(True)


def read(path: str | os.PathLike) -> bytes:
    """The octets of a file, unpacked; "-" is standard input.

    Raises:
      OSError: it cannot be read.
      ParseError: it is packed, but not whole.
    """
    data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    return unpacked(data, name(path))


def name(path: str | os.PathLike) -> str:
    """What messages call a file."""
    return "<stdin>" if path == "-" else os.fspath(path)


def unpacked(data: bytes, name: str) -> bytes:
    """Data packed by gzip, xz or bzip2, which their first octets tell, and any other as it is."""
    for magic, unpack in _UNPACK.items():
        if data.startswith(magic):
            try:
                return unpack(data)
            except _BROKEN as error:
                message = f"{name}:1: expected whole packed data, given {str(error).strip()!r}"
                raise ParseError(message) from error
    return data
