"""Image files to arrays."""

import contextlib
import io
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from slimdit.core.errors import InputError
from slimdit.data.image_metadata import without_metadata

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
