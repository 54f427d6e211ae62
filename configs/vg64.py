"""Visual Genome at 64x64: boxes and named relations, but no masks, which are learned through the picture alone.

The data set has no builder here yet; the config fixes the model and its hyper-parameters.
"""

from ml_collections import ConfigDict

from configs import coco64


def get_config() -> ConfigDict:
  config = coco64.get_config()
  config.data.name = 'visual_genome'
  config.data.source_dir = 'datasets/vg'
  config.data.max_objects = 10
  config.data.max_triples = 39  # up to 30 relations of a scene, and one __in_image__ triple for each of 9 objects
  config.data.relations = 'stored'
  config.losses.mask_weight = 0.0  # there are no masks to learn from
  return config
