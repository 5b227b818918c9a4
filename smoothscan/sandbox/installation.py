"""Which files a confined process needs to be a Python process with torch: the view of the disk that it gets."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterable
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]

_SYSTEM = (
    *("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix/store", "/gnu/store"),
    *(
        "/etc/ld.so.cache",
        "/etc/ld.so.conf",
        "/etc/ld.so.conf.d",
        "/etc/localtime",
        "/etc/mime.types",
        "/etc/alternatives",
    ),
    *("/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/kernel/mm/transparent_hugepage"),
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory", "/proc/version"),
)
"""Libraries, and what they ask about the machine. No users, no host names, no keys."""

DEVICES = ("/dev/zero", "/dev/urandom", "/dev/random")
"""Devices that every process may read."""
NOTHING = "/dev/null"
"""The device that every process may write to as well."""

_ACCELERATORS = {"nvidiactl": ("nvidia*",), "kfd": ("kfd", "dri")}
"""Devices in /dev that go with each driver's control device; a display alone (dri) is of no use to torch."""
_DRIVERS = (
    "/proc/driver/nvidia",
    "/sys/bus/pci",
    "/sys/class/drm",
    "/sys/class/kfd",
    "/sys/devices",
    "/sys/module/nvidia",
)


def readable() -> tuple[str, ...]:
    """Return the files and folders of the system and of this Python installation, those that exist."""
    found = [Path(path) for path in (*_SYSTEM, sys.prefix, sys.base_prefix, sys.exec_prefix)]
    # the real interpreter may lie elsewhere than the links that lead to it say
    found.append(Path(sys.executable).resolve().parent.parent)
    found.extend(Path(entry) for entry in _import_path() if Path(entry) != _PACKAGE.parent)
    found.append(_PACKAGE)
    found.extend(Path(entry) for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry)
    return _existing(path for path in found if path != Path("/"))


def listable() -> tuple[str, ...]:
    """Return the folder that this package lies in: Python looks for it there by name, and reads nothing else in it."""
    return _existing([_PACKAGE.parent])


def accelerators() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the device files of accelerators, and what their drivers read; nothing on a machine without."""
    patterns = [
        pattern for control, names in _ACCELERATORS.items() if Path("/dev", control).exists() for pattern in names
    ]
    devices = _existing(path for pattern in patterns for path in Path("/dev").glob(pattern))
    return devices, _existing(map(Path, _DRIVERS)) if devices else ()


def _import_path() -> list[str]:
    """Return the folders that the child imports from: not the script's, and not the current one."""
    started_with = {str(Path(path).resolve()) for path in (Path.cwd(), Path(sys.argv[0] or ".").parent)}
    named = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    packages = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    others = [entry for entry in sys.path if entry and str(Path(entry).resolve()) not in started_with]
    return [*named, *packages, *others]


def _existing(paths: Iterable[Path]) -> tuple[str, ...]:
    """Return the paths that are there, without those inside of others, parents first."""
    kept: list[Path] = []
    for path in sorted({Path(os.path.abspath(path)) for path in paths}):  # noqa: PTH100 links must stay as named
        if path.exists() and not any(path.is_relative_to(parent) for parent in kept):
            kept.append(path)
    return tuple(map(str, kept))
