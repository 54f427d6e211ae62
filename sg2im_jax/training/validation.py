"""What training shows of validation scenes: losses, how good boxes are, KID, and a grid of
pictures.
"""

from collections.abc import Iterator

import jax
import numpy as np
from ml_collections import ConfigDict

from data_pipelines.drawing import sheets as drawing
from data_pipelines.pipeline import input_pipeline
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.evaluation import backbones, image_metrics, layout_metrics, metrics
from sg2im_jax.evaluation.layout_metrics import Layouts
from sg2im_jax.models import pixels
from sg2im_jax.runtime import hosts, sharding
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.training.state import NetworkState, build_networks
from sg2im_jax.training.step import make_eval_step

_GRID_SCENES = 6
_LAYOUT_METRICS = (
  'box_iou',
  'recall_at_0.3',
  'recall_at_0.5',
  'sigma_x',
  'sigma_area',
  'relation_accuracy',
)


class Validation:
  """Scores a generator on split `val`: the same scenes, triples and noise each time."""

  def __init__(self, config: ConfigDict, vocabulary: Vocabulary, builder, mesh: jax.sharding.Mesh):
    self._config, self._vocabulary, self._builder = config, vocabulary, builder
    self._batch_sharding = sharding.batch_sharding(mesh)
    eval_step = make_eval_step(config, vocabulary)
    module = build_networks(config, vocabulary).generator
    self._key = jax.random.key(config.seed)
    self._backbone = None
    if config.eval_backbone != 'none':
      count = min(config.num_eval_examples, input_pipeline.num_examples(builder, 'val'))
      if count < image_metrics.FEWEST_PICTURES:
        raise UserError(
          f'{count} scenes to validate on, expected at least {image_metrics.FEWEST_PICTURES} for '
          'KID; '
          'raise --config.num_eval_examples, or leave --config.eval_backbone=none'
        )
      self._backbone = backbones.load_backbone(config.eval_backbone)
    self._real_features = None  # of the scenes' own pictures, once they have been computed

    # What is returned of a batch, too, is there for every process; of the batch itself it has its
    # own rows.
    def score(generator: NetworkState, batch: SceneBatch, key: jax.Array):
      return *eval_step(generator, batch, key), batch.replace(image=None, masks=None)

    def draw(
      generator: NetworkState,
      batch: SceneBatch,
      key: jax.Array,
      *,
      use_boxes: bool = False,
      use_masks: bool = False,
      stretch: bool = False,
    ) -> jax.Array:
      noise = jax.random.normal(key, (*batch.image.shape[:3], config.model.layout_noise_dim))
      outputs = module.apply(
        generator.variables,
        batch,
        noise,
        use_boxes=use_boxes,
        use_masks=use_masks and batch.masks is not None,
        train=False,
      )
      return pixels.denormalize(outputs.image, stretch)

    def sample(generator: NetworkState, batch: SceneBatch, key: jax.Array) -> list[jax.Array]:
      return [
        batch.example_mask,
        batch.image,
        draw(generator, batch, key, stretch=config.sampling.stretch),
      ]

    def paint(generator: NetworkState, batch: SceneBatch, key: jax.Array) -> list[jax.Array]:
      ways = [(True, True), (True, False), (False, False)]
      return [
        batch.example_mask,
        batch.image,
        *(
          draw(generator, batch, key, use_boxes=use_boxes, use_masks=use_masks)
          for use_boxes, use_masks in ways
        ),
      ]

    self._score, self._sample, self._paint = (
      jax.jit(function, out_shardings=sharding.replicated(mesh))
      for function in (score, sample, paint)
    )

  def scores(self, generator: NetworkState) -> dict[str, float]:
    """Scores of config.num_eval_examples scenes, or of all if there are fewer; nan where there is
    nothing to score.

    Returns:
      l1_pixel, bbox, predicate, mask: mean losses. box_iou, recall_at_0.3, recall_at_0.5, sigma_x,
      sigma_area, relation_accuracy: see `layout_metrics.scores`.
      kid: of a picture of each graph, beside the scenes' own; with config.eval_backbone only.
    """
    sums, layouts, drawn, real = [], [], [], []
    for index, batch in enumerate(self._batches(self._config.num_eval_examples)):
      key = jax.random.fold_in(self._key, index)
      losses, boxes, shown = jax.device_get(self._score(generator, batch, key))
      sums.append(losses)
      layouts.append(Layouts.of_batch(boxes, shown, self._vocabulary))
      if self._backbone is not None:
        mask, image, picture = map(np.asarray, self._sample(generator, batch, key))
        drawn.append(self._backbone(picture[mask]).features)
        if self._real_features is None:
          real.append(self._backbone(image[mask]).features)
    found = layout_metrics.scores(Layouts.concatenate(layouts))
    scores = metrics.means(sums) | {
      name: float('nan') if found[name] is None else found[name] for name in _LAYOUT_METRICS
    }
    if self._backbone is not None:
      if self._real_features is None:
        self._real_features = np.concatenate(real)
      scores['kid'], _ = image_metrics.kernel_distance(np.concatenate(drawn), self._real_features)
    return scores

  def image_grid(self, generator: NetworkState) -> np.ndarray:
    """uint8[height, width, 3]: a row for each scene, a column for each way to make it, see
    drawing.training_grid.
    """
    batch = next(self._batches(self._config.batch_size))
    mask, *pictures = map(np.asarray, self._paint(generator, batch, self._key))
    shown = np.flatnonzero(mask)[:_GRID_SCENES]
    return drawing.training_grid(*(picture[shown] for picture in pictures))

  def _batches(self, num_examples: int) -> Iterator[SceneBatch]:
    for batch in input_pipeline.evaluation_batches(
      self._builder,
      self._config.data,
      self._vocabulary,
      split='val',
      batch_size=self._config.batch_size,
      seed=self._config.seed,
      num_examples=num_examples,
      **hosts.own_shard(),
    ):
      yield sharding.assemble(SceneBatch(**batch), self._batch_sharding)


def check_best_metric(config: ConfigDict):
  """UserError if validation will not give the metric that is to tell the best checkpoint."""
  name = config.best_metric
  if name not in metrics.HIGHER_IS_BETTER:
    raise UserError(
      f'config.best_metric is {name!r}, expected one of {", ".join(metrics.HIGHER_IS_BETTER)}'
    )
  if name == 'kid' and config.eval_backbone == 'none':
    raise UserError(
      'config.best_metric is kid, which needs a backbone; set '
      '--config.eval_backbone=efficientnet-lite0'
    )
  if name == 'mask' and config.model.mask_size == 0:
    raise UserError('config.best_metric is mask, but this model predicts no masks; choose another')
