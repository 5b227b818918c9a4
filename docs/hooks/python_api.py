"""The reference of the Python package: what its facade exports, read from docstrings."""

from __future__ import annotations

import inspect

import smoothscan

HEAD = """# Python

```python
import smoothscan

result = smoothscan.scan("models:/digits-clean/1", "images/", profile="quick")
print(result.verdict, result.score, result.target_classes)
```

(The model and the images are those of `smoothscan demo`.)

`import smoothscan` is cheap: torch and MLflow are loaded by the first scan. What follows are the names that the package
promises; everything else may change.
"""


def page() -> str:
    """Return the page, on which mkdocstrings puts each docstring."""
    names = [name for name in smoothscan.__all__ if not name.startswith("__")]
    functions = [name for name in names if inspect.isfunction(getattr(smoothscan, name))]
    others = [name for name in names if name not in functions]
    parts = [HEAD]
    for title, some in (("Functions", functions), ("Classes", others)):
        parts += [f"## {title}", *(f"::: {_home(name)}" for name in some)]
    return "\n\n".join(parts) + "\n"


def _home(name: str) -> str:
    """The facade loads lazily, so a class is read where it is written."""
    written = getattr(smoothscan, name)
    module = getattr(written, "__module__", "smoothscan")
    return f"{module}.{name}"
