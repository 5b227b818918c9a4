"""Signatures around statements: DSSE envelopes, and the keys that make and check them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smoothscan.errors import ConfigError

if TYPE_CHECKING:
    from securesystemslib.signer import Key, Signer

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_VARIABLE = "SMOOTHSCAN_ATTEST_PASSWORD"
_MOST_BYTES = 2**16
_MAKE = "openssl genpkey -algorithm ed25519 -out attest.pem makes a private key, openssl pkey -in attest.pem -pubout"
_KINDS = "Keys are Ed25519, ECDSA P-256 or RSA, in PEM."


def read_signer(path: Path) -> Signer:
    """Read a private key, and make sure that it signs: a wrong one should not cost a scan.

    Args:
        path: PEM file; the password of an encrypted one is in the environment variable SMOOTHSCAN_ATTEST_PASSWORD.

    Raises:
        ConfigError: the file cannot be read, holds no private key, is encrypted for another password, or holds a key
            that cannot sign.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    data = _read(path)
    try:
        try:
            key = load_pem_private_key(data, None)
        except TypeError:  # it is encrypted
            key = _decrypted(path, data)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{path} holds no private key.", f"{_KINDS} {_MAKE} its public one.") from None
    try:
        signer = CryptoSigner(key)
        signer.sign(b"")
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{path} holds a key of a kind that attestations are not signed with.", _KINDS) from None
    return signer


def read_public_key(path: Path) -> Key:
    """Read the public key that a signature is checked with.

    Raises:
        ConfigError: the file cannot be read, or holds no public key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    data = _read(path)
    try:
        return SSlibKey.from_crypto(load_pem_public_key(data))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        hint = f"{_KINDS} openssl pkey -in attest.pem -pubout -out attest.pub makes it of the private one."
        raise ConfigError(f"{path} holds no public key.", hint) from None


def envelope(payload: bytes, signer: Signer) -> bytes:
    """Return a statement in a DSSE envelope with one signature, as JSON."""
    from securesystemslib.dsse import Envelope

    signed = Envelope(payload, PAYLOAD_TYPE, {})
    signed.sign(signer)
    data: dict[str, Any] = signed.to_dict()
    return (json.dumps(data, indent=2) + "\n").encode()


def is_signed(payload: bytes, signatures: list[bytes], key: Key) -> bool:
    """Return whether one of the signatures of a statement was made with a key.

    Which key a signature names is a hint that nothing rests on, so it is not looked at.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import UnverifiedSignatureError
    from securesystemslib.signer import Signature

    signed = Envelope(payload, PAYLOAD_TYPE, {}).pae()
    for signature in signatures:
        try:
            key.verify_signature(Signature(key.keyid, signature.hex()), signed)
        except UnverifiedSignatureError:
            continue
        return True
    return False


def _decrypted(path: Path, data: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    secret = os.environ.get(_VARIABLE)
    if not secret:
        raise ConfigError(f"The key {path} is encrypted.", f"Set {_VARIABLE} to its password.")
    try:
        return load_pem_private_key(data, secret.encode())
    except ValueError:
        raise ConfigError(f"The password in {_VARIABLE} does not open the key {path}.", "Check both.") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"The key {path} cannot be read: {error.strerror or error}.", "Name a PEM file.") from None
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{path} is too large for a key.", _KINDS)
    return data
