"""Bodies that come compressed (Content-Encoding), and how large they may become.

aiohttp would decompress by itself, and answer what it cannot read in plain text or as a defect of ours; so `server.py` turns that off.
Next: `bodies.py`, which reads what comes out.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from api.errors import BodyMalformed, BodyTooLarge, CodingUnsupported

_WINDOWS: Mapping[str, int] = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""What zlib calls the formats of RFC 9110 8.4.1."""


def decompressed(body: bytes, coding: str, most: int) -> bytes:
    """The body as it was before it was compressed; `coding` as in the header, empty for none.

    Raises CodingUnsupported, BodyMalformed for what is damaged or cut off, and BodyTooLarge above `most` bytes, before there are more.
    """
    coding = coding.strip().lower()
    if coding in {"", "identity"}:
        return body
    window = _WINDOWS.get(coding)
    if window is None:
        raise CodingUnsupported(f"A body with the Content-Encoding {coding!r} cannot be read.", tuple(_WINDOWS))
    decompressor = zlib.decompressobj(window)
    try:
        content = decompressor.decompress(body, most + 1)
    except zlib.error as error:
        raise BodyMalformed(f"The body is no {coding}: {error}.") from error
    if len(content) > most:
        raise BodyTooLarge("The body, decompressed, is larger than the limit.")
    if not decompressor.eof or decompressor.unused_data:
        raise BodyMalformed(f"The body is no {coding}: it {'goes on after its end' if decompressor.eof else 'is cut off'}.")
    return content
