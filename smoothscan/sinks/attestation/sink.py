"""Writes `attestation.json`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from smoothscan.exhibits import Exhibits
from smoothscan.files import make_folder, write_atomically
from smoothscan.products import ATTESTATION
from smoothscan.result import ScanResult
from smoothscan.sinks.attestation.signing import envelope
from smoothscan.sinks.attestation.statement import statement, to_bytes

if TYPE_CHECKING:
    from securesystemslib.signer import Signer


class AttestationSink:
    """Writes `attestation.json`: a statement in a DSSE envelope, or the bare statement.

    Args:
        signer: signs it; None to leave it unsigned.
    """

    def __init__(self, signer: Signer | None) -> None:
        self._signer = signer

    def write(self, result: ScanResult, exhibits: Exhibits, folder: Path) -> tuple[Path, ...]:
        """Write `attestation.json`, unless there is no file to attest anything about; see `Sink.write`."""
        if result.model.digest is None:
            return ()
        data = to_bytes(statement(result))
        if self._signer is not None:
            data = envelope(data, self._signer)
        return (write_atomically(make_folder(folder) / ATTESTATION, data),)
