"""Arrays whose memory is a file: shared maps to be filled, made private once the file is complete."""

from __future__ import annotations

import errno
import math
import mmap
import os
from typing import Any, NamedTuple

PAGE = max(4096, mmap.ALLOCATIONGRANULARITY)


class Region(NamedTuple):
    """A piece of a file mapped at an address."""

    address: int
    size: int
    offset: int
    map: mmap.mmap

    def holds(self, address: int, size: int) -> bool:
        return self.address <= address and address + size <= self.address + self.size


class GrowingFile:
    """A new local file that grows by mapped regions of whole pages."""

    def __init__(self, path: str, reserved: int) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o666)
        self.size = reserved
        self.regions: list[Region] = []

    def grow(self, size: int) -> mmap.mmap:
        """Map `size` zero bytes at the end of the file. Raises OSError (ENOSPC) if the disk cannot hold them."""
        import numpy as np

        offset = -(-self.size // PAGE) * PAGE
        reserve(self.descriptor, offset, size)
        mapped = mmap.mmap(self.descriptor, size, offset=offset)  # a shared map: its pages are those of the file
        address: int = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
        self.regions.append(Region(address, size, offset, mapped))
        self.size = offset + size
        return mapped

    def offset_of(self, buffer: memoryview) -> int | None:
        """The position of the memory of `buffer` in the file; None if it is not of this file."""
        import numpy as np

        if not buffer.nbytes:
            return None
        address: int = np.frombuffer(buffer, np.uint8).__array_interface__["data"][0]
        for region in self.regions:
            if region.holds(address, buffer.nbytes):
                return region.offset + address - region.address
        return None

    def write_at(self, offset: int, data: Any) -> int:
        """Write all of `data` at `offset`; the offset after it."""
        view = memoryview(data).cast("B")
        while view.nbytes:
            count = os.pwrite(self.descriptor, view[: 1 << 26], offset)
            offset += count
            view = view[count:]
        self.size = max(self.size, offset)
        return offset

    def part(self) -> None:
        """Make every region private to this process: arrays still in use can no longer change the file."""
        import ctypes

        call = getattr(ctypes.CDLL(None, use_errno=True), "mmap", None)
        if call is None:
            return
        call.restype = ctypes.c_void_p
        call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
        fixed = 0x10  # MAP_FIXED, not in Python's mmap: replaces the map in one step, at the same address
        flags = mmap.MAP_PRIVATE | fixed | getattr(mmap, "MAP_NORESERVE", 0x4000 if os.uname().sysname == "Linux" else 0)
        for region in self.regions:
            size = -(-region.size // PAGE) * PAGE
            at = call(region.address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, self.descriptor, region.offset)
            if at != region.address:
                number = ctypes.get_errno()
                raise OSError(number, f"cannot make an allocated array private: {os.strerror(number)}")

    def close(self) -> None:
        """Close the descriptor; the regions stay as long as arrays use them."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def array_in(folder: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """A zeroed array in the memory of a file in `folder`, which is removed with it. Raises OSError if the disk cannot hold it."""
    import numpy as np

    kind = np.dtype(dtype)
    check_plain(kind)
    size = kind.itemsize * math.prod(shape)
    if not size:
        return np.zeros(shape, kind)
    name = os.path.join(folder, f"array-{os.urandom(4).hex()}.raw")
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        reserve(descriptor, 0, size)
        return np.frombuffer(mmap.mmap(descriptor, size), kind).reshape(shape)
    finally:
        os.close(descriptor)
        try:
            os.unlink(name)
        except OSError:
            pass  # where a mapped file cannot be removed, it is removed later with the folder


def reserve(descriptor: int, offset: int, size: int) -> None:
    """Reserve space on the disk now: writing to a map without space kills the process."""
    os.ftruncate(descriptor, offset + size)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, offset, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
        else:
            return
    os.lseek(descriptor, offset, os.SEEK_SET)  # without a call for it, space is reserved by writing zeros
    for start in range(0, size, 1 << 22):
        piece = memoryview(bytes(min(1 << 22, size - start)))
        while piece:
            piece = piece[os.write(descriptor, piece) :]


def check_plain(dtype: Any) -> None:
    """Raise TypeError if arrays of `dtype` hold references."""
    if dtype.hasobject:
        raise TypeError(f"an array of {dtype} holds references, not bytes: it cannot be kept in a file")
