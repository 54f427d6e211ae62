import numpy as np
import pytest

from benchmarks.scenes import VOCABULARY, random_batch
from data_pipelines.configs import coco64, vg64
from data_pipelines.scene_graphs.errors import SettingsError
from sg2im_jax.settings import Settings


def test_scenes_keep_the_contract_of_batches():
  config = coco64.get_config()
  config.batch_size = 64
  batch = random_batch(Settings.from_config(config), seed=0)
  counts = batch.object_mask.sum(1) - 1
  assert set(counts) == set(range(3, 9))  # as many objects as COCO-Stuff's filter leaves
  assert np.array_equal(batch.triple_mask.sum(1), 2 * counts)
  assert (
    (batch.boxes[..., 2:] >= batch.boxes[..., :2]).all()
    and batch.boxes.min() >= 0
    and batch.boxes.max() <= 1
  )
  assert not batch.boxes[~batch.object_mask].any() and not batch.triples[~batch.triple_mask].any()
  for count, triples, mask in zip(counts, batch.triples, batch.triple_mask):
    subjects, predicates, objects = triples[mask].T
    in_image = predicates == 0
    assert sorted(subjects[in_image]) == list(range(1, count + 1)) and not objects[in_image].any()
    assert (subjects != objects).all() and objects.max() <= count and objects[~in_image].min() > 0
  assert (batch.object_class[:, 0] == 0).all()
  assert batch.object_class.max() < VOCABULARY.num_objects == 184
  assert {array.dtype.name for array in (batch.object_class, batch.triples)} == {'int32'}


def test_full_scenes_fill_every_slot():
  config = coco64.get_config()
  config.data.max_triples = 40
  batch = random_batch(Settings.from_config(config), seed=0, full=True)
  assert batch.object_mask.all() and batch.triple_mask.all()
  assert ((batch.triples[..., 1] == 0).sum(1) == 8).all()


def test_data_sets_without_masks_have_scenes_without_masks():
  assert random_batch(Settings.from_config(coco64.get_config()), seed=0).masks is not None
  assert random_batch(Settings.from_config(vg64.get_config()), seed=0).masks is None


def test_too_few_slots():
  config = coco64.get_config()
  config.data.max_triples = 8
  with pytest.raises(SettingsError, match='data.max_triples is 8, too few for random scenes'):
    random_batch(Settings.from_config(config), seed=0)
