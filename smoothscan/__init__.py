"""Finds backdoors in image classifiers of an MLflow registry, from a single clean image."""

from smoothscan._version import __version__

__all__ = ["__version__"]
