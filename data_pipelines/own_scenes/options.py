"""config.data.options of a folder of scenes; configs/scenes.py explains them."""

from typing import Annotated

from data_pipelines.settings.section import PositiveInt, Section, Share, not_below


class OwnScenesOptions(Section):
  """Which objects, scenes and names are kept.

  Attributes:
    min_object_area: share of the image that an object's box must exceed.
    min_objects, max_objects: of a scene, without `__image__` and what the other options drop.
    min_object_instances: training objects of an object name that is kept.
    min_predicate_instances: training relationships of a predicate that is kept.
    min_attribute_instances: training objects with an attribute that is kept.
  """

  min_object_area: Share
  min_objects: PositiveInt
  max_objects: Annotated[PositiveInt, not_below('min_objects')]
  min_object_instances: PositiveInt
  min_predicate_instances: PositiveInt
  min_attribute_instances: PositiveInt
