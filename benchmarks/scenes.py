"""Random scenes at a config's sizes, so that nothing has to be downloaded before something is
measured.
"""

import numpy as np
from ml_collections import ConfigDict

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, Vocabulary
from sg2im_jax.scene_batch import SceneBatch

FEWEST_OBJECTS = 3  # of an image that COCO-Stuff's filter keeps, without __image__

# As many object classes as COCO has ids, used or not, and its predicates.
VOCABULARY = Vocabulary(
  ('__image__', *(f'class {index}' for index in range(1, 184))), COCO_PREDICATES
)


def random_batch(config: ConfigDict, seed: int, *, full: bool = False) -> SceneBatch:
  """A batch of NumPy arrays with the sizes of a config; what it shows means nothing.

  An image has 3 to config.data.max_objects - 1 objects besides `__image__`, every number as likely
  as any other (COCO's own mean is near the middle), one drawn relation for each of them, and one
  `__in_image__` triple. Boxes have sides of 0.15 to 1 and lie inside the image, masks are ellipses
  that fill their boxes.

  Args:
    seed: the same seed gives the same batch.
    full: fill every object slot and, with more relations, every triple slot.

  Raises:
    UserError: the config has too few slots for such scenes.
  """
  data, batch_size = config.data, config.batch_size
  most = data.max_objects - 1
  if most < FEWEST_OBJECTS or data.max_triples <= most:
    raise UserError(
      f'config.data.max_objects={data.max_objects} and max_triples={data.max_triples} are too few '
      'for '
      f'random scenes; give {FEWEST_OBJECTS + 1} or more objects and as many triples'
    )
  rng = np.random.default_rng(seed)
  counts = np.full(batch_size, most) if full else rng.integers(FEWEST_OBJECTS, most + 1, batch_size)
  object_mask = np.arange(data.max_objects) <= counts[:, None]  # slot 0 is __image__

  classes = rng.integers(1, VOCABULARY.num_objects, object_mask.shape, np.int32)
  sides = rng.uniform(0.15, 1, (*object_mask.shape, 2)).astype(np.float32)
  corners = rng.random(sides.shape, np.float32) * (1 - sides)
  boxes = np.concatenate([corners, corners + sides], -1)
  masks = np.broadcast_to(
    _ellipse(data.mask_size), (*object_mask.shape, data.mask_size, data.mask_size)
  ).copy()
  classes[:, 0], boxes[:, 0], masks[:, 0] = 0, (0, 0, 1, 1), 1
  for array in (classes, boxes, masks):
    array[~object_mask] = 0

  triples = np.zeros((batch_size, data.max_triples, 3), np.int32)
  num_triples = (
    np.full(batch_size, data.max_triples) if full else np.minimum(2 * counts, data.max_triples)
  )
  for row, (count, total) in enumerate(zip(counts, num_triples)):
    subjects = np.arange(total - count) % count
    others = (subjects + rng.integers(1, count, len(subjects))) % count
    predicates = rng.integers(1, VOCABULARY.num_predicates, len(subjects))
    triples[row, : len(subjects)] = np.stack([subjects + 1, predicates, others + 1], 1)
    triples[row, len(subjects) : total, 0] = (
      np.arange(count) + 1
    )  # __in_image__ is predicate 0, __image__ object 0
  image = rng.integers(0, 256, (batch_size, *data.image_size, 3), np.uint8)
  return SceneBatch(
    object_class=classes,
    object_mask=object_mask,
    triples=triples,
    triple_mask=np.arange(data.max_triples) < num_triples[:, None],
    boxes=boxes,
    masks=masks,
    image=image,
  )


def _ellipse(size: int) -> np.ndarray:
  centres = (np.arange(size) + 0.5) / size * 2 - 1
  return (np.square(centres)[:, None] + np.square(centres) <= 1).astype(np.uint8)
