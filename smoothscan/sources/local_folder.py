"""Models in a folder of this machine. The folder is read, never written to."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from smoothscan.errors import ModelLoadError, ModelNotFoundError
from smoothscan.events import Events
from smoothscan.result import ModelInfo
from smoothscan.sources.interface import Artifact
from smoothscan.sources.model_folder import MLMODEL, pin, read_mlmodel


class LocalFolder:
    """Takes a path or a `file:` URI."""

    def fetch(self, uri: str, into: Path, events: Events) -> Artifact:
        """Copy the folder into `into` and pin it.

        Raises:
            ModelNotFoundError: there is no such folder, or it holds no MLmodel file.
            ModelLoadError: a file can not be read, is no plain file, or is a link that leaves the folder.
            UnsupportedModelError: it is stored in no way that the scanner knows.
        """
        folder = local_path(uri)
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "does not exist"
            raise ModelNotFoundError(
                f"The model folder {uri} {what}.",
                f"Give the folder that holds the {MLMODEL} file, or a URI such as models:/name/3.",
            )
        read_mlmodel(folder, uri)  # before copying: a mistyped path may lead to any amount of files
        events.stage("download", str(folder))
        try:
            _copy(folder, into)
        except OSError as error:
            raise ModelLoadError(f"{error.filename or folder} can not be copied: {error.strerror or error}.") from error
        return pin(into, ModelInfo(uri=uri, resolved_uri=folder.resolve().as_uri()))


def local_path(uri: str) -> Path:
    """Return the folder that a path or a `file:` URI means."""
    if uri.startswith("file:"):
        return Path(url2pathname(urlsplit(uri).path))
    return Path(uri).expanduser()


def _copy(folder: Path, into: Path) -> None:
    root = folder.resolve()
    for parent, folders, files in os.walk(root):
        target = into / Path(parent).relative_to(root)
        target.mkdir(parents=True, exist_ok=True)
        for name in (*folders, *files):
            path = Path(parent, name)
            if not path.resolve().is_relative_to(root):
                raise ModelLoadError(
                    f"{path} is a symbolic link that leaves the model's folder.",
                    "Copy what it points to into the folder; a model is examined as the files that it consists of.",
                )
        for name in files:
            path = Path(parent, name)
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe would block, a device may never end
                raise ModelLoadError(f"{path} is no plain file.")
            shutil.copyfile(path, target / name)
        if links := [name for name in folders if Path(parent, name).is_symlink()]:
            raise ModelLoadError(f"{Path(parent, links[0])} is a symbolic link to a folder; a model has plain folders.")
