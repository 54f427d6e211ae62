"""config.data.options of Visual Genome; configs/vg64.py explains them."""

from typing import Annotated

from data_pipelines.settings.section import NonNegativeInt, PositiveInt, Section, not_below


class VisualGenomeOptions(Section):
  """Which images, objects and names of Visual Genome are kept.

  Attributes:
    min_image_size: pixels that both sides of an image need.
    min_object_instances: training objects of a name that is a class.
    min_attribute_instances: training objects with an attribute that is kept.
    min_object_size: pixels that both sides of an object's box need.
    min_predicate_instances: training relations of a predicate that is kept.
    min_objects, max_objects: of an image, without `__image__`.
    min_relations, max_relations: of an image.
  """

  min_image_size: NonNegativeInt
  min_object_instances: NonNegativeInt
  min_attribute_instances: NonNegativeInt
  min_object_size: NonNegativeInt
  min_predicate_instances: NonNegativeInt
  min_objects: NonNegativeInt
  max_objects: Annotated[PositiveInt, not_below('min_objects')]
  min_relations: NonNegativeInt
  max_relations: Annotated[PositiveInt, not_below('min_relations')]
