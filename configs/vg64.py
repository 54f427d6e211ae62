"""Visual Genome at 64x64: boxes and named relations; masks are learned through the picture alone.

  python -m sg2im_jax.train --config=configs/vg64.py --workdir=runs/vg64 \\
      --config.data.source_dir=datasets/vg

Get Visual Genome 1.4 from visualgenome.org and vg_splits.json from the published code
(sg2im/data/vg_splits.json of github.com/google/sg2im). Filters and hyper-parameters are those of
the published checkpoint.
"""

# The attributes of a ConfigDict have no types.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from ml_collections import ConfigDict

from data_pipelines.configs import coco64


def get_config() -> ConfigDict:
  config = coco64.get_config()
  config.data.name = 'visual_genome'
  config.data.source_dir = 'datasets/vg'  # the official files, unpacked or in their zip archives
  config.data.mask_size = None  # there are no masks
  # The published code takes 10 of a scene's related objects where there are more, which is 11 with
  # __image__; here it is 10 with __image__, as its option max_objects means.
  config.data.max_objects = 10
  # Up to 30 relations of a scene, and one __in_image__ triple for each of 9 objects.
  config.data.max_triples = 39
  config.data.relations = 'stored'
  config.data.subsample = True
  config.data.options = ConfigDict()
  config.data.options.min_image_size = 200  # pixels that both sides of an image need
  config.data.options.min_object_instances = 2000  # training objects of a name that is a class
  # Training objects with an attribute that is kept.
  config.data.options.min_attribute_instances = 2000
  config.data.options.min_object_size = 32  # pixels that both sides of an object's box need
  config.data.options.min_predicate_instances = 500  # training relations of a kept predicate
  config.data.options.min_objects = 3  # of a scene, without __image__
  config.data.options.max_objects = 30
  config.data.options.min_relations = 1
  config.data.options.max_relations = 30
  config.losses.mask_weight = 0.0  # there are no masks to learn from
  return config
