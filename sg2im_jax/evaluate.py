"""How well the predicted layouts keep to their graphs and to the data.

  python -m sg2im_jax.evaluate --workdir=runs/storybook --split=val --num_graphs=200

prints, and writes to WORKDIR/evaluation.json: the share of the graphs' geometric relations that the predicted boxes
satisfy, their mean IoU with the ground truth, and the mean IoU of a baseline that puts every object of a class at the
class's mean training box.
"""

import os
import pathlib
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from data_pipelines import input_pipeline
from data_pipelines.relations import geometric_predicate, mask_centres
from data_pipelines.vocabulary import GEOMETRIC_PREDICATES, Vocabulary
from sg2im_jax import checkpoints, command_line, compilation, metrics, models, work_directory
from sg2im_jax.scene_batch import SceneBatch


def evaluate(workdir: str | os.PathLike, split: str = 'val', num_graphs: int = 200, data_dir: str | None = None,
             source_dir: str | None = None) -> dict[str, float]:
  """Scores the newest checkpoint of a work directory; see the module's docstring and `report` for the names."""
  config, vocabulary, variables, step = checkpoints.load_generator(workdir)
  config.data.data_dir = data_dir or config.data.data_dir
  config.data.source_dir = source_dir or config.data.source_dir
  builder = input_pipeline.prepare(config.data)
  num_graphs = min(num_graphs, input_pipeline.num_examples(builder, split))
  generator = models.build_generator(config, vocabulary)

  @jax.jit
  def predict_boxes(batch: SceneBatch) -> jax.Array:
    noise = jnp.zeros((*batch.object_class.shape[:1], *config.data.image_size, config.model.layout_noise_dim))
    return generator.apply(variables, batch, noise, use_boxes=False, use_masks=False, train=False).boxes

  mean_boxes = mean_box_of_class(_batches(builder, config, vocabulary, 'train', None), vocabulary.num_objects)
  totals = {}
  for batch in _batches(builder, config, vocabulary, split, num_graphs):
    for name, (value, count) in score_boxes(np.asarray(predict_boxes(batch)), mean_boxes, batch, vocabulary).items():
      total, total_count = totals.get(name, (0.0, 0))
      totals[name] = (total + value, total_count + count)
  results = {name: total / count if count else None for name, (total, count) in totals.items()}
  gain = results['box_iou'] / results['baseline_box_iou'] - 1 if results['baseline_box_iou'] else None
  return {'step': step, 'split': split, 'num_graphs': num_graphs,
          'num_relations': totals['relation_accuracy'][1], **results, 'box_iou_gain': gain}


def score_boxes(boxes: np.ndarray, mean_boxes: np.ndarray, batch: SceneBatch,
                vocabulary: Vocabulary) -> dict[str, tuple[float, int]]:
  """Sum and count of every score over the real objects and geometric triples of a batch.

  Args:
    boxes: float32[B, O, 4], predicted.
    mean_boxes: float32[V, 4], from `mean_box_of_class`.
    batch: with ground-truth boxes and masks.
    vocabulary: tells which predicates are geometric.
  """
  scored = batch.object_mask & (np.arange(batch.object_mask.shape[1]) > 0)  # every object but __image__

  def iou(predicted: np.ndarray) -> tuple[float, int]:
    return float(np.asarray(metrics.box_iou(predicted, batch.boxes))[scored].sum()), int(scored.sum())

  def accuracy(predicted: np.ndarray, centres: np.ndarray) -> tuple[float, int]:
    satisfied = satisfied_relations(predicted, centres, batch, vocabulary)
    return float(satisfied.sum()), satisfied.size

  scores = {'relation_accuracy': accuracy(boxes, _box_centres(boxes)),
            'ground_truth_relation_accuracy': accuracy(batch.boxes, _box_centres(batch.boxes)),
            'box_iou': iou(boxes), 'baseline_box_iou': iou(mean_boxes[batch.object_class])}
  if batch.masks is not None:
    scores['ground_truth_mask_relation_accuracy'] = accuracy(batch.boxes, mask_centres(batch.boxes, batch.masks))
  return scores


def satisfied_relations(boxes: np.ndarray, centres: np.ndarray, batch: SceneBatch,
                        vocabulary: Vocabulary) -> np.ndarray:
  """bool[N] over the batch's N geometric triples: whether the boxes would be given the predicate that the graph has.

  Args:
    boxes: float32[B, O, 4].
    centres: float32[B, O, 2].
  """
  kind = np.full(vocabulary.num_predicates, -1)  # of a predicate id: index into GEOMETRIC_PREDICATES
  for index, name in enumerate(GEOMETRIC_PREDICATES):
    if name in vocabulary.predicate_names:
      kind[vocabulary.predicate_names.index(name)] = index
  asked = np.where(batch.triple_mask, kind[batch.triples[..., 1]], -1)
  row, column = np.nonzero(asked >= 0)
  subject, object_ = batch.triples[row, column, 0], batch.triples[row, column, 2]
  found = geometric_predicate(boxes[row, subject], boxes[row, object_], centres[row, subject], centres[row, object_])
  return found == asked[row, column]


def mean_box_of_class(batches: Iterator[SceneBatch], num_objects: int) -> np.ndarray:
  """float32[V, 4]: the mean box of each class; of all objects, for a class that does not occur."""
  total, count = np.zeros((num_objects, 4)), np.zeros((num_objects, 1))
  for batch in batches:
    np.add.at(total, batch.object_class[batch.object_mask], batch.boxes[batch.object_mask])
    np.add.at(count, batch.object_class[batch.object_mask], 1)
  overall = total[1:].sum(0) / max(count[1:].sum(), 1)  # without __image__
  return np.where(count > 0, total / np.maximum(count, 1), overall).astype(np.float32)


def report(results: dict[str, float]) -> str:
  """The results as text."""
  def percent(value: float | None) -> str:
    return 'none to score' if value is None else f'{value:.1%}'

  lines = [f'{results["num_graphs"]} graphs of split {results["split"]}, checkpoint of step {results["step"]}',
           f'geometric relations satisfied by the predicted boxes: {percent(results["relation_accuracy"])} '
           f'of {results["num_relations"]}',
           f'  by the ground-truth boxes: {percent(results["ground_truth_relation_accuracy"])}']
  if 'ground_truth_mask_relation_accuracy' in results:
    lines.append('  by the ground-truth boxes, with the centres of the masks: '
                 f'{percent(results["ground_truth_mask_relation_accuracy"])}')
  lines += [f'mean box IoU: {results["box_iou"]:.4f}',
            f'mean box IoU of every class at its mean training box: {results["baseline_box_iou"]:.4f}',
            f'gain over that baseline: {percent(results["box_iou_gain"])}']
  return '\n'.join(lines)


def _batches(builder, config: ConfigDict, vocabulary: Vocabulary, split: str,
             num_graphs: int | None) -> Iterator[SceneBatch]:
  for arrays in input_pipeline.evaluation_batches(
      builder, config.data, vocabulary, split=split, batch_size=config.batch_size, seed=config.seed,
      num_examples=num_graphs):
    yield SceneBatch(**arrays)


def _box_centres(boxes: np.ndarray) -> np.ndarray:
  return (boxes[..., :2] + boxes[..., 2:]) / 2


def main(_: Sequence[str]):
  compilation.configure()
  arguments = flags.FLAGS
  results = evaluate(arguments.workdir, arguments.split, arguments.num_graphs, arguments.data_dir, arguments.source_dir)
  print(report(results))
  work_directory.write_json(pathlib.Path(arguments.workdir) / 'evaluation.json', results)


if __name__ == '__main__':
  flags.DEFINE_string('workdir', None, 'Work directory of a training run.', required=True)
  flags.DEFINE_string('split', 'val', 'Whose graphs: train, val or test.')
  flags.DEFINE_integer('num_graphs', 200, 'How many graphs, from the start of the split.', lower_bound=1)
  flags.DEFINE_string('data_dir', None, 'Where the prepared data lies; by default where training had it.')
  flags.DEFINE_string('source_dir', None, 'Where the official files lie; by default where training had them.')
  command_line.run(main)
