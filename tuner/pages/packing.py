"""Packing: text in and out of a page: compressed blocks of data, and the hashes that its security policy names."""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import re
import zlib

from tuner.errors import UsageError

STUDY = "study"
"""The block of a page that holds the archive of the study."""

_LIMIT = 2**31
"""Bytes that a block may unpack to: what is more is no study, but a trap."""


def packed(text: str) -> str:
    """A text compressed (gzip), as base64: letters, digits, `+`, `/` and `=` alone. The same text gives the same."""
    return base64.b64encode(gzip.compress(text.encode("utf-8"), 6, mtime=0)).decode("ascii")


def unpacked(page: str, name: str) -> str:
    """The text of the block `name` in a page.

    Raises:
        UsageError: There is no such block, or it is damaged.
    """
    found = re.search(rf'<script type="text/plain" id="{re.escape(name)}">([A-Za-z0-9+/=\s]*)</script>', page)
    if found is None:
        raise UsageError("the file holds no study; `tuner report` writes files that do")
    try:
        inflater = zlib.decompressobj(wbits=31)
        content = inflater.decompress(base64.b64decode(found[1]), _LIMIT)
        if not inflater.eof:
            raise ValueError("it ends too early, or is far too large")
        return content.decode("utf-8")
    except (ValueError, binascii.Error, zlib.error) as error:
        raise UsageError(f"the study in the file is damaged: {error}; get the file again") from error


def source_hash(text: str) -> str:
    """What a Content-Security-Policy calls an inline script or style of this content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
