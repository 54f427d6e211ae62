"""COCO's things and stuff, from the annotation files for instances and for stuff."""

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines.coco import annotations as coco_annotations
from data_pipelines.coco import builder
from data_pipelines.pipeline.annotation_files import EntryFault
from data_pipelines.pipeline.source import Source
from data_pipelines.settings.data_settings import DataSettings


class CocoStuff(builder.CocoBuilder):
  """Images of COCO 2017 with their things and stuff as objects."""

  VERSION = tfds.core.Version('2.0.0')
  RELEASE_NOTES = {'2.0.0': 'Records have attributes.'}
  ARCHIVES = {
    'annotations/instances_{}.json': 'annotations_trainval2017.zip',
    'annotations/stuff_{}.json': builder.STUFF_ARCHIVE,
  }

  def read_annotations(
    self, source: Source, part: str, image_ids: frozenset[int] | None
  ) -> coco_annotations.Annotations:
    instances_path, stuff_path = (path.format(part) for path in self.ARCHIVES)
    return coco_annotations.read(
      source, instances_path, stuff_path, self.builder_config.options, image_ids
    )

  @staticmethod
  def read_masks(
    source: Source, part: str, image: coco_annotations.AnnotatedImage
  ) -> list[np.ndarray | EntryFault]:
    return [mask_or_fault(image, object_) for object_ in image.objects]


def mask_or_fault(
  image: coco_annotations.AnnotatedImage, object_: coco_annotations.AnnotatedObject
) -> np.ndarray | EntryFault:
  """bool[height, width] of an object, or what is wrong with its segmentation."""
  try:
    return image.mask(object_)
  except EntryFault as fault:
    return fault


def make_builder(settings: DataSettings) -> CocoStuff:
  """The builder for settings such as those of `configs/coco64.py`; see `builder.make`."""
  return builder.make(CocoStuff, settings)
