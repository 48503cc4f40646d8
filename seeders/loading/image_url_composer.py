"""Says at which address the picture of a sample property is, as the existing product's loader does."""

import re
from pathlib import Path

from seeders.loading.pack_files import IMAGES, is_file

ENDING = re.compile(r"\.(jpe?g|png|gif|webp)$", re.IGNORECASE)


def image_address(images_url: str, root: Path, pack: str, image: str) -> str:
    """Return the address of a picture that a pack names; without an ending it is a JPEG.

    Args:
        images_url: where all pictures are, without a slash at its end.
        root: the folder of packs. In the existing product's source, pictures that packs share lie beside it.
        pack: the pack's name.
        image: what stands in the property's file.
    """
    file = image if ENDING.search(image) else f"{image}.jpg"
    own, *shared = image_folders(root, pack)
    # One that is nowhere here may still be at the address: as in the product, the pack's own is meant.
    folder = next((address for address, path in (own, *shared) if is_file(path / file)), own[0])
    return f"{images_url}/{folder}/{file}"


def image_folders(root: Path, pack: str) -> tuple[tuple[str, Path], ...]:
    """Return where a pack's pictures may be: the last part of the address, and the folder. The pack's own is first."""
    beside = root.absolute().parent
    return (
        (f"packs/{pack}", root / pack / IMAGES),
        ("seeds", beside / IMAGES),
        ("example", beside.parent / "example_images"),
    )
