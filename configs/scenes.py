"""Your own scenes at 64x64: a folder with images and scenes.jsonl.

  python -m data_pipelines.prepare --dataset=scenes --check --source=my_scenes
  python -m sg2im_jax.train --config=configs/scenes.py --workdir=runs/my_scenes \\
      --config.data.source_dir=my_scenes

scenes.jsonl has one JSON object a line. examples/scenes is such a folder;
data_pipelines/own_scenes/scenes_file.py describes the format:

  {"file": "images/a.jpg", "split": "train",
   "objects": [{"name": "dog", "box": [12, 30, 85.5, 96], "mask": "masks/a-dog.png",
                "attributes": ["brown"]},
               {"name": "grass", "box": [0, 60, 128, 96]}],
   "relationships": [[0, "on", 1]]}

Boxes are the left, top, right and bottom edge in pixels. `split` (train unless it says val or test;
training needs some of val), `mask`, `attributes` and `relationships` may be left out. Where some
objects have masks, one without gets its whole box. Where none has, there is no mask loss: the model
learns masks through the picture alone.

At half of the visits of its scene, an object that is the subject of relationships gets one of them.
At the others, and for all other objects, the relation is a geometric one: left of, right of, above,
below, inside, surrounding, which every vocabulary has ("mixed"). With
--config.data.relations=stored there are only those of the file, and max_triples must hold all of a
scene's.

The first start prepares the records, names every line that cannot be used, and counts. After a
change of scenes.jsonl they are prepared again. The hyper-parameters are those for COCO, where the
training set has 25 thousand images or more; with some hundred scenes take fewer steps, as the model
overfits them.
"""

# The attributes of a ConfigDict have no types.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from ml_collections import ConfigDict

from data_pipelines.configs import coco64


def get_config() -> ConfigDict:
  config = coco64.get_config()
  config.num_steps = 100_000
  config.model.initial_box = 0.5  # no coordinate of a box starts dead, see coco64

  config.data.name = 'scenes'
  config.data.source_dir = 'datasets/scenes'  # the folder with scenes.jsonl
  config.data.max_objects = 10
  config.data.max_triples = 18
  config.data.relations = 'mixed'
  config.data.options = ConfigDict()
  config.data.options.min_object_area = 0.01  # share of the image that an object's box must exceed
  # Of a scene, without __image__ and what the other options drop.
  config.data.options.min_objects = 1
  config.data.options.max_objects = 9
  # How often a name must occur in the training scenes that are kept. Objects of rarer names are
  # dropped with all their relationships; so are relationships of rarer predicates, unless
  # geometric, and rarer attributes.
  config.data.options.min_object_instances = 1
  config.data.options.min_predicate_instances = 1
  config.data.options.min_attribute_instances = 1

  config.eval_every = 2_000
  config.image_grid_every = 2_000
  config.checkpoint_every = 2_000
  return config
