"""Validation during training: losses, metrics of layouts, KID, and a grid of pictures."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import tensorflow_datasets as tfds

from data_pipelines.drawing import sheets
from data_pipelines.pipeline import input_pipeline
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.evaluation import backbones
from sg2im_jax.metrics import image_metrics
from sg2im_jax.metrics.image_metrics import KID
from sg2im_jax.metrics.layout_metrics import LAYOUT_METRICS, ScoredBoxes
from sg2im_jax.models import pixels
from sg2im_jax.runtime import hosts, sharding
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.training.build import Training

_GRID_SCENES = 6


class Validation:
  """Scores a generator on split `val`: the same scenes, triples and noise each time."""

  def __init__(
    self,
    training: Training,
    vocabulary: Vocabulary,
    builder: tfds.core.DatasetBuilder,
    mesh: jax.sharding.Mesh,
  ):
    """Loads the backbone of settings.eval_backbone.

    Args:
      training: the training that is validated.
      vocabulary: of the model.
      builder: of the prepared data set.
      mesh: over which batches are sharded.

    Raises:
      UserError: there are too few scenes for KID, or the backbone cannot be loaded.
    """
    settings = training.settings
    self._settings, self._vocabulary, self._builder = settings, vocabulary, builder
    self._batch_sharding = sharding.batch_sharding(mesh)
    module = training.generator
    self._key = jax.random.key(settings.seed)
    self._backbone = None
    if settings.eval_backbone != 'none':
      count = min(settings.num_eval_examples, input_pipeline.num_examples(builder, 'val'))
      if count < image_metrics.FEWEST_PICTURES:
        raise UserError(
          f'{count} scenes to validate on, expected at least {image_metrics.FEWEST_PICTURES} for '
          'KID; raise num_eval_examples, or leave eval_backbone=none'
        )
      self._backbone = backbones.load_backbone(settings.eval_backbone)
    self._real_features: np.ndarray | None = None  # of the scenes' own images, computed once

    # A process has only its own rows of a batch, but results are replicated: the functions also
    # return what scoring needs of all rows.
    def score(variables: Any, batch: SceneBatch, key: jax.Array):
      return *training.eval_step(variables, batch, key), batch.replace(image=None, masks=None)

    def sample(
      variables: Any,
      batch: SceneBatch,
      key: jax.Array,
      *,
      use_boxes: bool = False,
      use_masks: bool = False,
      stretch: bool = False,
    ) -> jax.Array:
      noise = training.random_noise(batch, key)
      outputs: Any = module.apply(
        variables,
        batch,
        noise,
        use_boxes=use_boxes,
        use_masks=use_masks and batch.masks is not None,
        train=False,
      )
      return pixels.denormalize(outputs.image, stretch)

    def sample_and_real(variables: Any, batch: SceneBatch, key: jax.Array) -> list[Any]:
      return [
        batch.example_mask,
        batch.image,
        sample(variables, batch, key, stretch=settings.sampling.stretch),
      ]

    def grid_columns(variables: Any, batch: SceneBatch, key: jax.Array) -> list[Any]:
      ways = [(True, True), (True, False), (False, False)]
      return [
        batch.example_mask,
        batch.image,
        *(
          sample(variables, batch, key, use_boxes=use_boxes, use_masks=use_masks)
          for use_boxes, use_masks in ways
        ),
      ]

    self._score, self._sample_and_real, self._grid_columns = (
      jax.jit(function, out_shardings=sharding.replicated(mesh))
      for function in (score, sample_and_real, grid_columns)
    )

  def scores(self, variables: Any) -> dict[str, float]:
    """Scores of settings.num_eval_examples scenes, or of all if there are fewer.

    Returns:
      By name: the mean of each validated loss term; each of LAYOUT_METRICS; with an eval_backbone
      `kid` of one sample of each graph against the real images. nan where there is nothing to
      score.
    """
    sums, layouts, sampled, real = [], [], [], []
    for index, batch in enumerate(self._batches(self._settings.num_eval_examples)):
      key = jax.random.fold_in(self._key, index)
      losses, boxes, shown = jax.device_get(self._score(variables, batch, key))
      sums.append(losses)
      layouts.append(ScoredBoxes.of_batch(boxes, shown, self._vocabulary))
      if self._backbone is not None:
        mask, image, picture = map(np.asarray, self._sample_and_real(variables, batch, key))
        sampled.append(self._backbone(picture[mask]).features)
        if self._real_features is None:
          real.append(self._backbone(image[mask]).features)
    scored = ScoredBoxes.concatenate(layouts)
    scores = _means(sums)
    for metric in LAYOUT_METRICS:
      value = metric.value(scored)
      scores[metric.name] = float('nan') if value is None else value
    if self._backbone is not None:
      if self._real_features is None:
        self._real_features = np.concatenate(real)
      scores[KID.name], _ = image_metrics.kernel_distance(
        np.concatenate(sampled), self._real_features
      )
    return scores

  def image_grid(self, variables: Any) -> np.ndarray:
    """uint8[height, width, 3]: a row a scene, see `sheets.training_grid`."""
    batch = next(self._batches(self._settings.batch_size))
    mask, *pictures = map(np.asarray, self._grid_columns(variables, batch, self._key))
    shown = np.flatnonzero(mask)[:_GRID_SCENES]
    return sheets.training_grid(*(picture[shown] for picture in pictures))

  def _batches(self, num_examples: int) -> Iterator[SceneBatch]:
    for batch in input_pipeline.evaluation_batches(
      self._builder,
      self._settings.data,
      self._vocabulary,
      split='val',
      batch_size=self._settings.batch_size,
      seed=self._settings.seed,
      num_examples=num_examples,
      **hosts.own_shard(),
    ):
      yield sharding.assemble(SceneBatch(**batch), self._batch_sharding)


def _means(batches: Iterable[Mapping[str, tuple[jax.Array, jax.Array]]]) -> dict[str, float]:
  """The mean of each metric over batches that give its (sum, count); nan if all counts are 0."""
  totals = {}
  for sums in batches:
    for name, (value, count) in jax.device_get(dict(sums)).items():
      total, total_count = totals.get(name, (0.0, 0.0))
      totals[name] = (total + float(value), total_count + float(count))
  return {name: total / count if count else float('nan') for name, (total, count) in totals.items()}
