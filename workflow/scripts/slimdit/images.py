"""Image files to arrays."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from slimdit.errors import InputError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


def load_image(path: str | Path, image_size: int | None) -> np.ndarray:
    """Read an image as uint8 RGB (image_size, image_size, 3), or (H, W, 3) as it is with None.

    EXIF rotation is applied; the largest centred square is resized by an area-preserving filter,
    as the DiT family does. Raises InputError when the file is no image.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} cannot be read as an image ({error}); mend or remove it."
        ) from None
    side = min(image.size)
    if image_size is not None and image.size != (image_size, image_size):
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        image = image.resize((image_size, image_size), Image.Resampling.LANCZOS, box=box)
    return np.asarray(image)
