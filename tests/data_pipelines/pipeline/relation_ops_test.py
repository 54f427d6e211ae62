import math

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.pipeline import relation_ops
from data_pipelines.scene_graphs import geometry
from data_pipelines.scene_graphs.vocabulary import GEOMETRIC_PREDICATES

PREDICATE_IDS = [11, 12, 13, 14, 15, 16]


def published_rule(subject_box, object_box, subject_centre, object_centre):
  """The rule as the published code writes it: containment first, then the angle."""
  (sx0, sy0, sx1, sy1), (ox0, oy0, ox1, oy1) = subject_box, object_box
  theta = math.atan2(subject_centre[1] - object_centre[1], subject_centre[0] - object_centre[0])
  if sx0 < ox0 and sx1 > ox1 and sy0 < oy0 and sy1 > oy1:
    return 'surrounding'
  if sx0 > ox0 and sx1 < ox1 and sy0 > oy0 and sy1 < oy1:
    return 'inside'
  if theta >= 3 * math.pi / 4 or theta <= -3 * math.pi / 4:
    return 'left of'
  if theta < -math.pi / 4:
    return 'above'
  return 'right of' if theta < math.pi / 4 else 'below'


def random_scenes(rng, num_scenes, num_slots, mask_size=6):
  """Boxes on a coarse grid, so that equal edges and exact diagonals are common, and masks, some of
  them empty.
  """
  corners = np.sort(rng.integers(0, 9, (num_scenes, num_slots, 2, 2)), axis=2) / 8
  boxes = corners.reshape(num_scenes, num_slots, 4).astype(np.float32)
  share = rng.choice([0, 0.2, 1], (num_scenes, num_slots, 1, 1))
  masks = rng.random((num_scenes, num_slots, mask_size, mask_size)) < share
  return boxes, masks.astype(np.uint8)


def test_predicate_follows_the_published_rule():
  boxes, _ = random_scenes(np.random.default_rng(0), 5000, 2)
  centres = (boxes[..., :2] + boxes[..., 2:]) / 2
  pairs = boxes[:, 0], boxes[:, 1], centres[:, 0], centres[:, 1]
  names = [GEOMETRIC_PREDICATES[index] for index in geometry.geometric_predicate(*pairs)]
  assert names == [published_rule(*pair) for pair in zip(*pairs, strict=True)]
  assert set(names) == set(GEOMETRIC_PREDICATES)


@pytest.mark.parametrize(
  ('dx', 'dy', 'name'),
  [
    (-1, 0, 'left of'),
    (1, 0, 'right of'),
    (0, -1, 'above'),
    (0, 1, 'below'),
    (0, 0, 'right of'),
    (-1, 1, 'left of'),
    (-1, -1, 'left of'),
    (1, -1, 'right of'),
    (1, 1, 'below'),
  ],
)
def test_directions_and_diagonals(dx, dy, name):
  box = np.array([0, 0, 1, 1], np.float32)
  chosen = geometry.geometric_predicate(
    box, box, np.array([dx, dy], np.float32), np.zeros(2, np.float32)
  )
  assert GEOMETRIC_PREDICATES[chosen] == name


def test_centre_of_a_mask():
  boxes = np.array([[0, 0, 0.5, 1], [0.2, 0.4, 0.6, 0.6]], np.float32)
  masks = np.zeros((2, 3, 3), np.uint8)
  masks[0, 1, 2] = masks[0, 2, 2] = 1  # x: the right edge; y: the middle and the lower edge
  np.testing.assert_allclose(
    geometry.mask_centres(boxes, masks), [[0.5, 0.75], [0.4, 0.5]], rtol=1e-6
  )


def test_drawn_triples_equal_the_numpy_rule():
  rng = np.random.default_rng(1)
  num_scenes, num_slots = 300, 7
  boxes, masks = random_scenes(rng, num_scenes, num_slots)
  num_objects = rng.integers(0, num_slots, num_scenes)
  object_mask = np.arange(num_slots) <= num_objects[:, None]
  uniform = rng.random((num_scenes, num_slots - 1, 2)).astype(np.float32)
  triples, valid = (
    array.numpy()
    for array in relation_ops.random_geometric(
      *map(tf.constant, (boxes, masks, object_mask, uniform)), PREDICATE_IDS
    )
  )
  np.testing.assert_array_equal(valid, object_mask[:, 1:] & (num_objects[:, None] > 1))
  centres = geometry.mask_centres(boxes, masks)
  scene, drawer = np.nonzero(valid)
  subject, predicate, object_ = triples[valid].T
  expected = geometry.geometric_predicate(
    boxes[scene, subject], boxes[scene, object_], centres[scene, subject], centres[scene, object_]
  )
  np.testing.assert_array_equal(predicate, np.array(PREDICATE_IDS)[expected])
  # Each object is the subject or the object of its own triple, with another one of the same image.
  assert np.all((subject == drawer + 1) ^ (object_ == drawer + 1))
  for index in (subject, object_):
    assert np.all((index >= 1) & (index <= num_objects[scene]))


def test_partner_and_order_are_uniform():
  num_scenes = 6000
  boxes = tf.zeros((num_scenes, 5, 4))
  object_mask = tf.constant([[True, True, True, True, False]] * num_scenes)
  uniform = tf.random.stateless_uniform((num_scenes, 4, 2), (0, 0))
  triples, _ = relation_ops.random_geometric(
    boxes, tf.ones((num_scenes, 5, 2, 2)), object_mask, uniform, PREDICATE_IDS
  )
  subject, object_ = triples.numpy()[:, 1, [0, 2]].T  # of slot 2
  partner = np.where(subject == 2, object_, subject)
  np.testing.assert_allclose(
    np.bincount(partner, minlength=4) / num_scenes, [0, 1 / 2, 0, 1 / 2], atol=0.03
  )
  np.testing.assert_allclose(np.mean(subject == 2), 0.5, atol=0.03)


def test_centres_without_masks_are_the_middles_of_the_boxes():
  boxes, _ = random_scenes(np.random.default_rng(3), 50, 5)
  object_mask = np.ones((50, 5), bool)
  uniform = np.random.default_rng(4).random((50, 4, 2)).astype(np.float32)
  without, full = (
    relation_ops.random_geometric(boxes, masks, object_mask, uniform, PREDICATE_IDS)
    for masks in (None, np.ones((50, 5, 3, 3), np.uint8))
  )
  np.testing.assert_array_equal(without[0], full[0])


def subsamples(scene_relations, num_objects, max_objects, max_triples, num_visits):
  rng = np.random.default_rng(0)
  subsample = tf.function(relation_ops.subsample)
  stored = tf.constant(scene_relations, tf.int32, (len(scene_relations), 3))
  for _ in range(num_visits):
    kept, found = subsample(
      stored,
      tf.constant(rng.random(num_objects), tf.float32),
      tf.constant(rng.random(len(scene_relations)), tf.float32),
      max_objects,
      max_triples,
    )
    yield kept.numpy(), found.numpy()


@pytest.mark.parametrize(
  ('scene_relations', 'num_objects'),
  [([], 3), ([(2, 5, 0)], 4), ([(0, 1, 3), (3, 2, 0), (0, 1, 3), (1, 7, 1)], 4)],
)
def test_a_scene_that_fits_is_kept_as_it_is(scene_relations, num_objects):
  for kept, found in subsamples(scene_relations, num_objects, 4, 8, num_visits=5):
    np.testing.assert_array_equal(kept, np.arange(num_objects))
    np.testing.assert_array_equal(found, np.reshape(scene_relations, (-1, 3)))


def test_objects_in_relations_are_kept_first_and_orphans_fill_up():
  # 1, 4 and 6 are in relations; two of the other five fill up.
  counts = np.zeros(8)
  for kept, found in subsamples([(6, 9, 1), (1, 8, 4)], 8, 5, 20, num_visits=1000):
    assert len(kept) == 5 and np.all(np.diff(kept) > 0)
    counts[kept] += 1
    np.testing.assert_array_equal(
      np.stack([kept[found[:, 0]], found[:, 1], kept[found[:, 2]]], 1), [(6, 9, 1), (1, 8, 4)]
    )
  assert np.all(counts[[1, 4, 6]] == 1000)
  np.testing.assert_allclose(counts[[0, 2, 3, 5, 7]] / 1000, 2 / 5, atol=0.06)


def test_relations_of_objects_that_are_left_out_are_dropped():
  ring = [
    (index, 10 + index, (index + 1) % 6) for index in range(6)
  ]  # 6 related objects and 2 orphans
  counts = np.zeros(8)
  for kept, found in subsamples(ring, 8, 4, 20, num_visits=1000):
    counts[kept] += 1
    expected = [relation for relation in ring if relation[0] in kept and relation[2] in kept]
    np.testing.assert_array_equal(
      np.stack([kept[found[:, 0]], found[:, 1], kept[found[:, 2]]], 1),
      np.reshape(expected, (-1, 3)),
    )
  np.testing.assert_allclose(counts / 1000, [4 / 6] * 6 + [0, 0], atol=0.06)


def test_relations_beyond_the_budget_are_drawn():
  stored = [(0, predicate, 1) for predicate in range(1, 6)]
  counts = np.zeros(6)
  for kept, found in subsamples(stored, 3, 3, 5, num_visits=1000):
    assert len(kept) == 3 and len(found) == 2 and found[0, 1] < found[1, 1]
    counts[found[:, 1]] += 1
  np.testing.assert_allclose(counts[1:] / 1000, 2 / 5, atol=0.06)


def test_padding_changes_nothing():
  boxes, masks = random_scenes(np.random.default_rng(2), 4, 6)
  object_mask = np.arange(6) <= np.array([[0], [1], [2], [4]])
  uniform = np.full((4, 5, 2), 0.999999, np.float32)
  results = []
  for filler in (0, 1e6):
    filled = np.where(object_mask[..., None], boxes, filler).astype(np.float32)
    triples, valid = relation_ops.random_geometric(
      *map(tf.constant, (filled, masks, object_mask, uniform)), PREDICATE_IDS
    )
    results.append(
      [
        array.numpy()
        for array in relation_ops.with_in_image_triples(triples, valid, object_mask, 12)
      ]
    )
  for first, second in zip(*results, strict=True):
    np.testing.assert_array_equal(first, second)


def test_mix_takes_half_from_the_stored_relations_of_the_subject():
  num_scenes = 4000
  drawn = tf.tile(tf.constant([[[1, 9, 2], [2, 9, 1], [0, 0, 0]]]), (num_scenes, 1, 1))
  valid = tf.tile(tf.constant([[True, True, False]]), (num_scenes, 1))
  stored = tf.tile(tf.constant([[[1, 5, 2], [3, 6, 1], [1, 7, 2], [2, 8, 1]]]), (num_scenes, 1, 1))
  num_stored = tf.fill([num_scenes], 3)  # so [2, 8, 1] is padding
  uniform = tf.random.stateless_uniform((num_scenes, 3, 2), (0, 1))
  triples, mixed_valid = (
    array.numpy() for array in relation_ops.mix(drawn, valid, stored, num_stored, uniform)
  )
  shares = np.bincount(triples[:, 0, 1], minlength=10) / num_scenes
  np.testing.assert_allclose(shares[[5, 7, 9]], [0.25, 0.25, 0.5], atol=0.03)
  assert np.all(triples[:, 1] == [2, 9, 1])
  # The third object drew nothing, so it has a triple only where a stored one was taken.
  assert np.all(triples[mixed_valid[:, 2], 2] == [3, 6, 1])
  np.testing.assert_allclose(mixed_valid[:, 2].mean(), 0.5, atol=0.03)


def test_in_image_triples_follow_the_drawn_ones():
  triples = tf.constant([[[1, 5, 2], [7, 7, 7]], [[7, 7, 7], [2, 6, 1]], [[7, 7, 7], [7, 7, 7]]])
  valid = tf.constant([[True, False], [False, True], [False, False]])
  object_mask = tf.constant([[True, True, True], [True, True, False], [False, False, False]])
  padded, triple_mask = relation_ops.with_in_image_triples(triples, valid, object_mask, 5)
  np.testing.assert_array_equal(
    padded,
    [
      [[1, 5, 2], [1, 0, 0], [2, 0, 0], [0, 0, 0], [0, 0, 0]],
      [[2, 6, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
      np.zeros((5, 3)),
    ],
  )
  np.testing.assert_array_equal(triple_mask.numpy().sum(1), [3, 2, 0])
