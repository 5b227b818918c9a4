"""The scanners of the static check, one file for each kind of file or foreign scanner."""

from __future__ import annotations

from smoothscan.safety.examiners.archives import ArchiveReader
from smoothscan.safety.examiners.checkpoint import CheckpointReader
from smoothscan.safety.examiners.exported import ExportReader
from smoothscan.safety.examiners.graphs import OnnxReader
from smoothscan.safety.examiners.pickled import PickleReader
from smoothscan.safety.examiners.pictures import PictureReader
from smoothscan.safety.examiners.programs import ProgramReader
from smoothscan.safety.examiners.tensors import NumpyReader, SafetensorsReader
from smoothscan.safety.examiners.text import TextReader
from smoothscan.safety.examiners.with_fickling import Fickling
from smoothscan.safety.examiners.with_picklescan import Picklescan
from smoothscan.safety.interface import Examiner


def examiners() -> tuple[Examiner, ...]:
    """Return all scanners that are there, our own first."""
    return (
        *(TextReader(), PickleReader(), CheckpointReader(), ExportReader(), SafetensorsReader(), NumpyReader()),
        *(OnnxReader(), PictureReader(), ProgramReader(), ArchiveReader(), Picklescan(), Fickling()),
    )
