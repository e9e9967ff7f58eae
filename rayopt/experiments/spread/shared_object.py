"""One object for many processes: its large arrays are in a file that all of them map, and read only."""

from __future__ import annotations

import mmap
import pickle
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

LARGE = 2**20
"""Bytes of an array that is worth a place in the file."""
ALIGNMENT = 64
MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class SharedObject:
    """What a process needs to have the object: names of memory, never a pickle in a file.

    It is small, whatever the object: the system waits for ever for a process that dies before it has read much.

    Attributes:
      name: of the shared memory in which the object is without its large arrays, pickled.
      size: its bytes.
      path: the file of these arrays, plain bytes; None if there are none.
      spans: where each of them is, (begin, length).
    """

    name: str
    size: int
    path: str | None
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, thing: Any, modules: Iterable[ModuleType] = ()) -> SharedObject:
        """Returns an object for other processes; :meth:`close` frees its memory.

        Args:
          thing: the object.
          modules: what others may not find: their classes and functions travel with the object.

        Raises:
          OSError: there is no room for it.
        """
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        large: list[memoryview] = []

        def place(buffer: pickle.PickleBuffer) -> bool:
            with buffer.raw() as raw:
                if raw.nbytes < LARGE:
                    return True
            large.append(buffer.raw())
            return False

        content = cloudpickle.dumps(thing, protocol=5, buffer_callback=place)
        # Memory that is not there ends a process when it is touched, not when it is asked for.
        if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free < 2 * len(content):
            raise OSError(f"{MEMORY} has no room for {len(content):,} bytes")
        block = SharedMemory(create=True, size=len(content))
        memory: Any = block.buf
        memory[: len(content)] = content
        block.close()
        if not large:
            return cls(block.name, len(content), None, ())
        size = sum(raw.nbytes for raw in large) + ALIGNMENT * len(large)
        in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 * size
        spans = []
        with tempfile.NamedTemporaryFile(
            prefix="rayopt-", suffix=".arrays", dir=MEMORY if in_memory else None, delete=False
        ) as file:
            for raw in large:
                file.write(b"\0" * (-file.tell() % ALIGNMENT))
                spans.append((file.tell(), raw.nbytes))
                file.write(raw)
        return cls(block.name, len(content), file.name, tuple(spans))

    def get(self) -> Any:
        """Returns the object; its large arrays are read-only views of the file."""
        block = SharedMemory(self.name)
        memory: Any = block.buf
        content = bytes(memory[: self.size])
        block.close()
        if self.path is None:
            return pickle.loads(content)
        with open(self.path, "rb") as file:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return pickle.loads(content, buffers=[view[begin : begin + length] for begin, length in self.spans])

    def close(self) -> None:
        """Removes the memory and the file; processes that have mapped it keep what they see."""
        block = SharedMemory(self.name)
        block.close()
        block.unlink()
        self.remove_file()

    def remove_file(self) -> None:
        """Removes the file of the arrays: the memory goes by itself when the process that made it is gone."""
        if self.path is not None:
            Path(self.path).unlink(missing_ok=True)
