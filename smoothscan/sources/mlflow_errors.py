"""What goes wrong between this machine and an MLflow server, in words that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smoothscan.credentials import without_credentials
from smoothscan.errors import ModelNotFoundError, RegistryError, ScanFailedError, SmoothscanError
from smoothscan.surroundings import quiet

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException

_LOST = re.compile(r"^API request to (?P<host>https?://[^/\s]+)\S* failed with (timeout )?exception")
_REASONS = {
    "Connection refused": "connection refused",
    "NameResolution": "its name is unknown",
    "timed out": "no answer in time",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted",
}
_FORBIDDEN = "PERMISSION_DENIED"
_DENIED = frozenset({_FORBIDDEN, "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"})


@contextmanager
def reported(uri: str) -> Iterator[None]:
    """Turn whatever MLflow and the store's own library raise into errors that say what to do."""
    exception = mlflow_exception()
    try:
        with quiet("mlflow", "alembic"):
            yield
    except SmoothscanError:
        raise
    except exception as error:
        raise _translated(uri, error) from error
    except Exception as error:  # boto3, azure, sqlalchemy, ...: each artifact store and database has its own errors
        raise RegistryError(
            f"{shown(uri)} could not be fetched: {type(error).__name__}: {_first_line(error)}",
            "Check the credentials and the address of the artifact store or database.",
        ) from error


def _translated(uri: str, error: MlflowException) -> ScanFailedError:
    text = _first_line(error)
    if error.error_code in _DENIED:
        return RegistryError(
            f"Reading {shown(uri)} was refused: {text}",
            "Check MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; "
            "the permission READ is enough.",
        )
    if is_missing(error):
        return ModelNotFoundError(f"{shown(uri)} was not found: {text}", "Check the URI.")
    if lost := _LOST.search(str(error)):
        text = f"the server {shown(lost['host'])} did not answer ({_why_lost(str(error))})"
    return RegistryError(
        f"{shown(uri)} could not be fetched: {text}",
        "Check that --tracking-uri or MLFLOW_TRACKING_URI is right and that the server runs; "
        "a slow server needs a larger MLFLOW_HTTP_REQUEST_TIMEOUT (in seconds).",
    )


def _why_lost(text: str) -> str:
    for sign, reason in _REASONS.items():
        if sign in text:
            return reason
    return "no connection"


def mlflow_exception() -> type[MlflowException]:
    """Return the class of MLflow's own errors; importing MLflow takes seconds, so not before it is needed."""
    from mlflow.exceptions import MlflowException

    return MlflowException


def is_missing(error: MlflowException) -> bool:
    """Return whether the server says, in MLflow's own words, that something does not exist."""
    # Any web server answers 404, to anything.
    return error.error_code == "RESOURCE_DOES_NOT_EXIST" and not str(error).startswith("API request to")


def is_denied(error: MlflowException) -> bool:
    """Return whether the server knows who asks, and says that they may not see this."""
    return bool(error.error_code == _FORBIDDEN)


def _first_line(error: Exception) -> str:
    return shown(str(error).partition("\n")[0])


def shown(text: str) -> str:
    """Shorten a text and take user names and passwords out of the URIs in it."""
    short = without_credentials(text)
    return short if len(short) <= 300 else short[:300] + "..."
