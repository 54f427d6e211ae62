"""Validation losses, box IoU and the grid of pictures that training shows of fixed validation scenes."""

from collections.abc import Iterator

import jax
import numpy as np
from ml_collections import ConfigDict

from data_pipelines import drawing, input_pipeline
from data_pipelines.vocabulary import Vocabulary
from sg2im_jax import hosts, images, metrics, sharding
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.train_state import NetworkState, build_networks
from sg2im_jax.train_step import make_eval_step

_GRID_SCENES = 6


class Validation:
  """Scores a generator on split `val`: the same scenes, triples and noise each time."""

  def __init__(self, config: ConfigDict, vocabulary: Vocabulary, builder, mesh: jax.sharding.Mesh):
    self._config, self._vocabulary, self._builder = config, vocabulary, builder
    self._batch_sharding = sharding.batch_sharding(mesh)
    eval_step = make_eval_step(config, vocabulary)
    module = build_networks(config, vocabulary).generator
    self._key = jax.random.key(config.seed)

    def paint(generator: NetworkState, batch: SceneBatch, key: jax.Array) -> list[jax.Array]:
      noise = jax.random.normal(key, (*batch.image.shape[:3], config.model.layout_noise_dim))
      ways = [(True, True), (True, False), (False, False)]
      pictures = [images.denormalize(module.apply(generator.variables, batch, noise, use_boxes=use_boxes,
                                                  use_masks=use_masks and batch.masks is not None, train=False).image)
                  for use_boxes, use_masks in ways]
      return [batch.example_mask, batch.image, *pictures]  # of a batch a process has its own rows, of outputs all

    self._eval_step = jax.jit(eval_step, out_shardings=sharding.replicated(mesh))
    self._paint = jax.jit(paint, out_shardings=sharding.replicated(mesh))

  def losses(self, generator: NetworkState) -> dict[str, float]:
    """Means over config.num_eval_examples scenes (or all, if there are fewer): the losses and 'box_iou'."""
    return metrics.means(self._eval_step(generator, batch, jax.random.fold_in(self._key, index))
                         for index, batch in enumerate(self._batches(self._config.num_eval_examples)))

  def image_grid(self, generator: NetworkState) -> np.ndarray:
    """uint8[height, width, 3]: a row for each scene, a column for each way to make it, see drawing.training_grid."""
    batch = next(self._batches(self._config.batch_size))
    mask, *pictures = map(np.asarray, self._paint(generator, batch, self._key))
    shown = np.flatnonzero(mask)[:_GRID_SCENES]
    return drawing.training_grid(*(picture[shown] for picture in pictures))

  def _batches(self, num_examples: int) -> Iterator[SceneBatch]:
    for batch in input_pipeline.evaluation_batches(
        self._builder, self._config.data, self._vocabulary, split='val', batch_size=self._config.batch_size,
        seed=self._config.seed, num_examples=num_examples, **hosts.own_shard()):
      yield sharding.assemble(SceneBatch(**batch), self._batch_sharding)
