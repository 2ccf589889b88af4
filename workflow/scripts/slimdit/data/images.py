"""Image files to arrays."""

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from slimdit.core.errors import InputError

# By what Exif calls an orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
PNG_KEPT = {b"tRNS", b"eXIf"}  # of the chunks that a decoder may pass over
START_OF_SCAN, COMMENT, JFIF, EXIF, ADOBE = 0xDA, 0xFE, 0xE0, 0xE1, 0xEE
APPLICATIONS = range(0xE0, 0xF0)  # segments of theirs
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}  # of a TIFF, by how it begins
# Tags of a TIFF that are words or profiles, and one that means nothing: a number of 16 bits.
TIFF_BESIDE = {269, 270, 271, 272, 305, 306, 315, 316, 700, 33432, 33723, 34377, 34675, 34853}
TIFF_NOTHING = 65000, 3, 1
# The colours of a JPEG depend on two of them, which are this long at least.
JPEG_KEPT = {JFIF: (b"JFIF\0", 14), ADOBE: (b"Adobe", 12), EXIF: (b"Exif\0\0", 6)}


class NotAnImage(ValueError):
    """Why bytes are no image, in a clause."""


def decode(content: bytes) -> Image.Image:
    """The image that a file holds, as RGB with EXIF rotation applied; raises NotAnImage.

    Pixels alone decide: other metadata that are damaged or too large are left aside. What is
    transparent shows white; of 16 bits the upper 8 are kept.
    """
    if not content:
        raise NotAnImage("it is empty")
    try:
        try:
            return _decoded(content)
        except (NotAnImage, MemoryError):
            raise
        except Exception:  # pixels or metadata
            return _decoded(without_metadata(content))
    except (NotAnImage, MemoryError):
        raise
    except UnidentifiedImageError:
        raise NotAnImage("it has no known format") from None
    except Exception as error:  # whatever a decoder stumbles over in damaged bytes
        raise NotAnImage(str(error) or type(error).__name__) from None


def _decoded(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        num_pixels, limit = image.width * image.height, Image.MAX_IMAGE_PIXELS
        if num_pixels > limit:
            raise NotAnImage(f"it has {num_pixels} pixels, more than {limit}")
        image.load()
        turn = None
        with contextlib.suppress(Exception):  # metadata that cannot be read mean no rotation
            turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
        return as_rgb(image if turn is None else image.transpose(turn))


def without_metadata(content: bytes) -> bytes:
    """A PNG, JPEG or TIFF with its pixels, its transparency and its Exif; other formats as they
    are."""
    if content.startswith(PNG):
        return PNG + b"".join(_png_chunks(content))
    if content.startswith(JPEG):
        return JPEG + b"".join(_jpeg_segments(content))
    if order := BYTE_ORDERS.get(content[:4]):
        return _tiff_without_words(content, order)
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


def _tiff_without_words(content: bytes, order: str) -> bytes:
    """With words and profiles of its first image under a tag that means nothing."""
    changed = bytearray(content)
    (directory,) = struct.unpack_from(f"{order}I", content, 4)
    (num_entries,) = struct.unpack_from(f"{order}H", content, directory)
    for start in range(directory + 2, directory + 2 + 12 * num_entries, 12):
        if struct.unpack_from(f"{order}H", content, start)[0] in TIFF_BESIDE:
            struct.pack_into(f"{order}HHI", changed, start, *TIFF_NOTHING)
    return bytes(changed)


def as_rgb(image: Image.Image) -> Image.Image:
    """Raises NotAnImage for pixels of unknown range."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise NotAnImage("its pixels have 32 bits, but should have 8 or 16")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def image_array(content: bytes, image_size: int | None, path: str | Path) -> np.ndarray:
    """The image that `path` holds, as `load_image` gives it, from the bytes of the file."""
    try:
        image = decode(content)
    except NotAnImage as reason:
        raise _unreadable(path, reason) from None
    if image_size is not None and image.size != (image_size, image_size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        image = image.resize((image_size, image_size), Image.Resampling.LANCZOS, box=box)
    return np.asarray(image)


def load_image(path: str | Path, image_size: int | None) -> np.ndarray:
    """Read an image as uint8 RGB (image_size, image_size, 3), or (H, W, 3) as it is with None.

    EXIF rotation is applied; the largest centred square is resized by an area-preserving filter,
    as the DiT family does. Raises InputError when the file is no image.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    return image_array(content, image_size, path)


def _unreadable(path: str | Path, reason) -> InputError:
    return InputError(f"{path} cannot be read as an image ({reason}); mend or remove it.")
