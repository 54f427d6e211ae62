"""config.data.options of the readings of COCO; configs/coco64.py explains them."""

from typing import Annotated, Literal

from data_pipelines.settings.section import (
  NonNegativeInt,
  PositiveInt,
  Section,
  Share,
  not_below,
)


class CocoOptions(Section):
  """Which images and objects of COCO are kept.

  Attributes:
    train_images: the images to train and to validate on; auto is stuff40k where its lists are
      there, else all.
    instance_whitelist: names of the things to keep; () for all.
    stuff_whitelist: names of the stuff to keep; () for all.
    include_other: keep the stuff class "other".
    keep_crowds: keep regions that are annotated as a crowd of things.
    min_object_area: share of the image that an object's box must exceed.
    min_objects, max_objects: of an image, without `__image__`.
    num_val: so many images of val2017 are split `val`, the others `test`.
  """

  train_images: Literal['auto', 'stuff40k', 'all']
  instance_whitelist: tuple[str, ...]
  stuff_whitelist: tuple[str, ...]
  include_other: bool
  keep_crowds: bool
  min_object_area: Share
  min_objects: NonNegativeInt
  max_objects: Annotated[PositiveInt, not_below('min_objects')]
  num_val: PositiveInt
