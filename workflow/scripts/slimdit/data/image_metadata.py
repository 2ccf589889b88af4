"""PNG and JPEG files without what says nothing of their pixels, where Pillow stumbles over it."""

import struct
import zlib

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
PNG_KEPT = {b"tRNS", b"eXIf"}  # of the chunks that a decoder may pass over
START_OF_SCAN, COMMENT, JFIF, EXIF, ADOBE = 0xDA, 0xFE, 0xE0, 0xE1, 0xEE
APPLICATIONS = range(0xE0, 0xF0)  # segments of theirs
# The colours of a JPEG depend on two of them, which are this long at least.
JPEG_KEPT = {JFIF: (b"JFIF\0", 14), ADOBE: (b"Adobe", 12), EXIF: (b"Exif\0\0", 6)}


def without_metadata(content: bytes) -> bytes:
    """The file with its pixels, its transparency and its Exif; other formats as they are."""
    if content.startswith(PNG):
        return PNG + b"".join(_png_chunks(content))
    if content.startswith(JPEG):
        return JPEG + b"".join(_jpeg_segments(content))
    return content


def _png_chunks(content: bytes):
    start = len(PNG)
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4])
        kind, checksum = content[start + 4 : start + 8], content[end - 4 : end]
        is_critical = kind[:1].isupper()
        is_whole = zlib.crc32(content[start + 4 : end - 4]).to_bytes(4) == checksum
        if is_critical or (kind in PNG_KEPT and is_whole):
            yield content[start:end]
        start = end


def _jpeg_segments(content: bytes):
    """Up to the pixels; from there on, and from where it is no JPEG, all that follows."""
    start = len(JPEG)
    while start + 4 <= len(content):
        mark, marker, length = struct.unpack_from(">BBH", content, start)
        if marker == 0xFF:  # a byte that fills
            start += 1
            continue
        end = start + 2 + length
        if mark != 0xFF or marker == START_OF_SCAN or end > len(content):
            break
        body = content[start + 4 : end]
        name, least = JPEG_KEPT.get(marker, (b"", 0))
        is_kept = marker in JPEG_KEPT and body.startswith(name) and len(body) >= least
        if is_kept or marker not in (*APPLICATIONS, COMMENT):
            yield content[start:end]
        start = end
    yield content[start:]
