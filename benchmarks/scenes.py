"""Random scenes of the sizes that settings name, so that benchmarks need no data set."""

import numpy as np

from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, Vocabulary
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.settings import Settings

FEWEST_OBJECTS = 3  # of an image that COCO-Stuff's filter keeps, without __image__

# As many object classes as COCO has ids, used or not, and its predicates.
VOCABULARY = Vocabulary(
  ('__image__', *(f'class {index}' for index in range(1, 184))), COCO_PREDICATES
)


def random_batch(settings: Settings, seed: int, *, full: bool = False) -> SceneBatch:
  """A batch of scenes without meaning, as NumPy arrays; without masks if data.mask_size is None.

  An image has 3 to data.max_objects - 1 objects besides `__image__`, each number with the same
  probability (the mean of COCO is near the middle), and for each object one random relation and one
  `__in_image__` triple. Boxes lie inside the image and have sides of 0.15 to 1; masks are ellipses
  that fill their boxes.

  Args:
    settings: its batch_size and data are used.
    seed: the same seed gives the same batch.
    full: fill every object slot and, with more relations, every triple slot.

  Raises:
    SettingsError: there are too few slots for such scenes.
  """
  _check(settings)
  data, batch_size = settings.data, settings.batch_size
  most = data.max_objects - 1
  rng = np.random.default_rng(seed)
  counts = np.full(batch_size, most) if full else rng.integers(FEWEST_OBJECTS, most + 1, batch_size)
  object_mask = np.arange(data.max_objects) <= counts[:, None]  # slot 0 is __image__

  classes = rng.integers(1, VOCABULARY.num_objects, object_mask.shape, np.int32)
  sides = rng.uniform(0.15, 1, (*object_mask.shape, 2)).astype(np.float32)
  corners = rng.random(sides.shape, np.float32) * (1 - sides)
  boxes = np.concatenate([corners, corners + sides], -1)
  classes[:, 0], boxes[:, 0] = 0, (0, 0, 1, 1)
  classes[~object_mask], boxes[~object_mask] = 0, 0

  masks = None
  if data.mask_size is not None:
    shape = (*object_mask.shape, data.mask_size, data.mask_size)
    masks = np.broadcast_to(_ellipse(data.mask_size), shape).copy()
    masks[:, 0], masks[~object_mask] = 1, 0

  triples = np.zeros((batch_size, data.max_triples, 3), np.int32)
  num_triples = (
    np.full(batch_size, data.max_triples) if full else np.minimum(2 * counts, data.max_triples)
  )
  for row, (count, total) in enumerate(zip(counts, num_triples)):
    subjects = np.arange(total - count) % count
    others = (subjects + rng.integers(1, count, len(subjects))) % count
    predicates = rng.integers(1, VOCABULARY.num_predicates, len(subjects))
    triples[row, : len(subjects)] = np.stack([subjects + 1, predicates, others + 1], 1)
    # The predicate __in_image__ and the object __image__ are 0.
    triples[row, len(subjects) : total, 0] = np.arange(count) + 1

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


def _check(settings: Settings):
  data = settings.data
  least = {'max_objects': FEWEST_OBJECTS + 1, 'max_triples': data.max_objects}
  faults = [
    Fault(
      f'data.{name}',
      f'is {getattr(data, name)}, too few for random scenes, expected {number} or more',
      str(number),
    )
    for name, number in least.items()
    if getattr(data, name) < number
  ]
  if faults:
    raise SettingsError(faults)


def _ellipse(size: int) -> np.ndarray:
  """uint8[size, size]: 1 inside of the circle that touches the edges."""
  centres = (np.arange(size) + 0.5) / size * 2 - 1
  return (np.square(centres)[:, None] + np.square(centres) <= 1).astype(np.uint8)
