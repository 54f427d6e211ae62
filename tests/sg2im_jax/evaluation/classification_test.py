import numpy as np
import pytest

from sg2im_jax.evaluation import classification
from sg2im_jax.evaluation.classification import Classifier, Crops
from sg2im_jax.runtime import compilation

pytestmark = pytest.mark.slow


def _shapes(num_crops: int, seed: int) -> Crops:
  """Crops of three classes: bars that lie, bars that stand, squares; in random colours."""
  random = np.random.default_rng(seed)
  classes = random.integers(3, size=num_crops).astype(np.int32)
  pixels = np.empty((num_crops, 32, 32, 3), np.uint8)
  for crop, kind in zip(pixels, classes):
    crop[:] = random.integers(0, 100, 3)
    x, y = random.integers(0, 16, 2)
    height, width = [(4, 16), (16, 4), (10, 10)][kind]
    crop[y : y + height, x : x + width] = random.integers(140, 256, 3)
  return Crops(pixels, classes)


@pytest.fixture(scope='module', autouse=True)
def short_training(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
    patch.setattr(classification, 'NUM_STEPS', 100)
    patch.setattr(classification, 'BATCH_SIZE', 32)
    yield


@pytest.fixture(scope='module')
def classifier():
  return Classifier(_shapes(400, 0), 3)


def test_names_what_it_has_not_seen(classifier):
  assert classifier.accuracy(_shapes(200, 1)) > 0.9


def test_knows_nothing_of_wrong_labels(classifier):
  crops = _shapes(200, 1)
  assert classifier.accuracy(Crops(crops.pixels, (crops.object_class + 1) % 3)) < 0.1


def test_is_trained_once_on_the_same_crops(classifier, monkeypatch):
  trainings = []
  fitted = classification.fitted
  monkeypatch.setattr(
    classification, 'fitted', lambda *args: trainings.append(args) or fitted(*args)
  )
  crops = _shapes(200, 1)
  assert Classifier(_shapes(400, 0), 3).accuracy(crops) == classifier.accuracy(crops)
  assert not trainings
  Classifier(crops, 3)
  Classifier(crops, 3, seed=1)
  assert len(trainings) == 2
  for path in (compilation.cache_directory() / 'classifiers').iterdir():
    path.write_bytes(path.read_bytes()[:1000])
  Classifier(crops, 3)
  assert len(trainings) == 3


def test_counts_a_last_batch_that_is_not_full(classifier):
  size = classification.BATCH_SIZE
  crops = _shapes(size + 3, 2)

  def num_right(start, end):
    part = Crops(crops.pixels[start:end], crops.object_class[start:end])
    return classifier.accuracy(part) * len(part)

  # A batch that is full, and single crops.
  expected = num_right(0, size) + sum(num_right(i, i + 1) for i in range(size, size + 3))
  assert classifier.accuracy(crops) == pytest.approx(expected / len(crops))


def test_training_shuffles_within_passes_and_mirrors():
  crops = Crops(
    np.arange(96, dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8),
    np.arange(96, dtype=np.int32),
  )
  crops.pixels[:, :, 0] = 200  # marks the left edge
  random = np.random.default_rng(0)
  arrays = {'pixels': crops.pixels, 'object_class': crops.object_class}
  passes = classification._mirrored(classification.passes(arrays, random, 6), random)
  batches = list(passes)
  seen = np.concatenate([rows['object_class'] for rows in batches])
  assert sorted(seen[:96]) == sorted(seen[96:]) == list(range(96))
  assert list(seen[:96]) != list(seen[96:])
  mirrored = np.concatenate([rows['pixels'][:, 0, -1, 0] == 200 for rows in batches])
  assert 0.3 < mirrored.mean() < 0.7
  assert (crops.pixels[:, :, 0] == 200).all()  # the crops themselves stay


def test_cut():
  image = np.zeros((1, 64, 64, 3), np.uint8)
  image[0, :32, 32:] = [10, 20, 30]
  boxes = np.array([[[0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.75, 0.125, 1.25, 0.375]]], np.float32)
  crops = np.asarray(classification.cut(image, boxes))
  assert crops.shape == (1, 3, 32, 32, 3) and crops.dtype == np.uint8
  assert (crops[0, 0, 2:-2, 2:-2] == [10, 20, 30]).all()
  assert (crops[0, 1, 2:-2, 2:-2] == 0).all()
  # Half of it is outside.
  assert (crops[0, 2, :, 2:14] == [10, 20, 30]).all() and (crops[0, 2, :, 18:] == 0).all()
