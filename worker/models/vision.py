"""How many tokens one image can become, by a model's own settings (SPEC 2.4).

0 where there is no vision, and where its kind is not known: then a request with an image exceeds
its bound and is refused, rather than charged for what nobody foresaw.
"""

from collections.abc import Mapping
from typing import Any

MAX_IMAGE_TOKENS = 1_000_000
_MARKS = 2
"""Most templates write a mark before and after an image."""


def image_tokens(config: Mapping[str, Any], processor: Mapping[str, Any]) -> int:
    """The most tokens of one image, by `config.json` and `preprocessor_config.json`."""
    vision = config.get("vision_config")
    if not isinstance(vision, dict):
        return 0
    found = _told(config) or _by_pixels(vision, processor) or _by_grid(vision, processor)
    return min(found + _MARKS, MAX_IMAGE_TOKENS) if found else 0


def _told(config: Mapping[str, Any]) -> int:
    """Models with one size of image say how many tokens it has."""
    return _count(config, "mm_tokens_per_image") or _count(config, "image_seq_length")


def _by_pixels(vision: Mapping[str, Any], processor: Mapping[str, Any]) -> int:
    """Models that take images as they come, up to so many pixels (Qwen-VL and its kin)."""
    size = processor.get("size")
    most = _count(processor, "max_pixels")
    if not most and isinstance(size, dict):
        most = _count(size, "max_pixels") or _count(size, "longest_edge")
    side = _patch(vision, processor) * (
        _count(processor, "merge_size") or _count(vision, "spatial_merge_size") or 1
    )
    # `longest_edge` is a number of pixels there, and a length in other models.
    return most // (side * side) if most > _LONGEST_SIDE and side else 0


_LONGEST_SIDE = 65_535


def _by_grid(vision: Mapping[str, Any], processor: Mapping[str, Any]) -> int:
    """Models that scale every image to one square."""
    side, patch = _count(vision, "image_size"), _patch(vision, processor)
    merge = _count(vision, "spatial_merge_size") or 1
    if not side or not patch:
        return 0
    across = -(-side // patch)
    tiles = _count(processor, "max_image_tiles") or _count(vision, "max_num_tiles") or 1
    return tiles * (across * across + 1) // (merge * merge)


def _patch(vision: Mapping[str, Any], processor: Mapping[str, Any]) -> int:
    return _count(processor, "patch_size") or _count(vision, "patch_size")


def _count(settings: Mapping[str, Any], name: str) -> int:
    value = settings.get(name)
    return value if type(value) is int and value > 0 else 0
