"""From the data of an evaluation to a folder of images."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from smoothscan import UsageError


def gather(features: Any, into: Path) -> Path:
    """Collect the image files that a table names in one folder, in the order of its rows.

    Args:
        features: the evaluated data; a DataFrame with one column of paths.
        into: where to make the folder.

    Raises:
        UsageError: the data is no such table, or a file is missing.
    """
    hint = "Give a DataFrame with one column of paths to clean images, or evaluator_config={'images': FOLDER}."
    columns = list(getattr(features, "columns", ()))
    if len(columns) != 1:
        what = f"a table with the columns {columns}" if columns else f"a {type(features).__name__}"
        raise UsageError(f"The data of the evaluation is {what}, and not one column of image paths.", hint)
    values = features[columns[0]].tolist()
    if not values or not all(isinstance(value, str | os.PathLike) for value in values):
        raise UsageError(f"The column {columns[0]!r} of the evaluated data holds no paths of images.", hint)
    folder = into / "images"
    folder.mkdir()
    for position, value in enumerate(values):
        source = Path(value).absolute()
        if not source.is_file():
            raise UsageError(f"The image {value} of the evaluated data does not exist.", hint)
        _bring(source, folder / f"{position:06d}-{source.name}")  # files of several folders may share a name
    return folder


def _bring(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError:  # Windows asks for a privilege
        shutil.copy2(source, target)
