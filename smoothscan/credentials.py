"""User names and passwords in URIs, which must not get into results, messages and logs."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"//[^/?#\s]*@")  # up to the last @: not everybody quotes those in a password


def without_credentials(text: str) -> str:
    """Take user names and passwords out of the URIs in a text."""
    return _USER_INFO.sub("//", text)
