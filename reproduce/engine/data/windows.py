"""Where to cut and how to scale each image: geometry that both back-ends execute step by step, in whole pixels.

A row of geometry is ``top, left, height, width`` (a window of the source), ``resized_height, resized_width`` (what
the window is scaled to); the back-ends then cut the central ``image_size`` square, which for a training crop is
everything. Height before width throughout.
"""

import numpy as np

ATTEMPTS = 10  # as torchvision's RandomResizedCrop and DALI's random_resized_crop
DRAWS = 2 * ATTEMPTS + 3  # uniforms per image: area and aspect of each attempt, top, left, flip


def random_windows(sizes: np.ndarray, uniforms: np.ndarray, data) -> np.ndarray:
    """int64 [n, 4] windows of a random resized crop.

    `sizes` int [n, 2] are the images' heights and widths, `uniforms` [n, DRAWS], `data` a config's `Data`. The window's
    area is uniform in crop_area (a fraction of the image), the logarithm of its aspect (width / height) uniform in
    that of crop_aspect; the first of ten attempts that fits is taken, else the largest central window whose aspect is
    allowed. This is the definition of torchvision.transforms.RandomResizedCrop and of DALI.
    """
    height, width = sizes[:, 0].astype(np.float64), sizes[:, 1].astype(np.float64)
    low, high = data.crop_area
    area = (height * width)[:, None] * (low + (high - low) * uniforms[:, 0 : 2 * ATTEMPTS : 2])
    low, high = np.log(data.crop_aspect)
    aspect = np.exp(low + (high - low) * uniforms[:, 1 : 2 * ATTEMPTS : 2])
    tall, wide = np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))
    fits = (tall >= 1) & (wide >= 1) & (tall <= height[:, None]) & (wide <= width[:, None])
    found, first = fits.any(1), fits.argmax(1)
    rows = np.arange(len(sizes))

    low, high = data.crop_aspect
    central_h = np.minimum(height, np.maximum(np.rint(width / low), 1))
    central_w = np.minimum(width, np.maximum(np.rint(height * high), 1))
    window_h = np.where(found, tall[rows, first], central_h)
    window_w = np.where(found, wide[rows, first], central_w)
    top = np.where(found, uniforms[:, -3] * (height - window_h + 1), (height - window_h) / 2)
    left = np.where(found, uniforms[:, -2] * (width - window_w + 1), (width - window_w) / 2)
    return np.stack([np.floor(top), np.floor(left), window_h, window_w], 1).astype(np.int64)


def train_geometry(sizes: np.ndarray, uniforms: np.ndarray, data) -> tuple[np.ndarray, np.ndarray]:
    """Geometry int64 [n, 6] and flips bool [n] of augmented training images; arguments as `random_windows`."""
    windows = random_windows(sizes, uniforms, data)
    resized = np.full((len(sizes), 2), data.image_size, np.int64)
    return np.concatenate([windows, resized], 1), uniforms[:, -1] < data.flip_probability


def centre_geometry(sizes: np.ndarray, data) -> tuple[np.ndarray, np.ndarray]:
    """Geometry int64 [n, 6] and (no) flips bool [n] for evaluation and the un-augmented tail.

    The shorter side becomes eval_resize, the other is rounded down, as torchvision.transforms.Resize does.
    """
    sizes = sizes.astype(np.int64)
    resized = data.eval_resize * sizes // sizes.min(1, keepdims=True)
    whole = np.concatenate([np.zeros_like(sizes), sizes, resized], 1)
    return whole, np.zeros(len(sizes), bool)


def centre_offsets(geometry: np.ndarray, image_size: int) -> np.ndarray:
    """int64 [n, 2]: top and left of the final central square; half pixels round to even, as in torchvision."""
    return np.rint((geometry[:, 4:6] - image_size) / 2).astype(np.int64)
