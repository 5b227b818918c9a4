"""Standard output and standard error that outlast whoever reads them."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Lasting(io.FileIO):
    """A file descriptor that takes whatever is written, also after its reader went away (`| head`)."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write; what nobody reads any more goes nowhere."""
        try:
            return super().write(data)
        except BrokenPipeError:
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())
            return super().write(data)


def prepare_streams() -> None:
    """Make standard output and standard error take everything, so that neither can end a scan or change its exit code.

    click would end a command whose reader went away with exit code 1, which says that the model is flagged. A label
    that the terminal cannot show is written with question marks.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # whoever started the command closed it (`>&-`)
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8"))
        if not isinstance(stream, io.TextIOWrapper):
            continue
        stream.reconfigure(errors="replace")
        raw = getattr(stream.buffer, "raw", stream.buffer)
        if isinstance(raw, io.FileIO):
            stream.flush()
            setattr(sys, name, _on(_Lasting(raw.fileno(), "wb", closefd=False), stream))


def _on(file: io.FileIO, stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Return a stream of texts on a file that is like another one."""
    return io.TextIOWrapper(
        file if isinstance(stream.buffer, io.FileIO) else io.BufferedWriter(file),  # `python -u` buffers nothing
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
