"""Scores a trained model: how it lays graphs out and what its pictures are worth, with all that a
comparison needs.

  python -m sg2im_jax.evaluate --workdir=runs/storybook --split=val

draws the graphs of the split, each several times, and writes to the work directory, or to
--output_dir:

  evaluation.json   every figure, and the whole protocol: split, images, samples, weights with their SHA-256, resizing
  evaluation.md     the same as tables to read
  evaluation.png    the first graphs: the real image, and samples

  Layout   IoU of predicted boxes with those of the data, recall at IoU 0.3 and 0.5, sigma_x, sigma_area (paper table
           2), and the share of the graphs' geometric relations that the boxes keep, for each
           predicate.
  Images   Inception score, FID, KID, precision and recall, diversity of the samples of one graph. Features come from
           --backbone: efficientnet-lite0, whose weights come with a package, or inception-2015,
           that of published figures, whose weights (91 MB) are downloaded once. Figures of
           different backbones do not compare. Real images of another split get the same scores, as
           the best that can be expected.
  Objects  classification accuracy score: a small ResNet learns objects of real pictures and names drawn ones, and the
           other way round.

The backbones need pip install -e '.[evaluate]'; --backbone=none scores the layout alone, without.
The same command gives the same figures: graphs, noise and subsets come from --seed and from each
image's place in its split. All devices of this machine share the work.

What a paper did is said with flags. Five pictures of each of the 2,048 images of a list from
ground-truth layouts, compared at 256 x 256:

  --image_ids=ids.txt --boxes=ground_truth --masks=ground_truth --samples_per_graph=5
  --image_size=256,256

  python -m sg2im_jax.evaluate --compare runs/full runs/no_gconv

sets the evaluations of several work directories side by side, beside the published figures of the
same data set, and names the settings in which their protocols differ.
"""

import dataclasses
import io
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from data_pipelines.command_line import refuse_arguments
from data_pipelines.drawing import sheets as drawing
from data_pipelines.pipeline import input_pipeline, prepared
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax import models
from sg2im_jax.evaluation import (
  backbones,
  classification,
  image_metrics,
  layout_metrics,
  report,
  scores,
)
from sg2im_jax.evaluation.layout_metrics import ScoredBoxes
from sg2im_jax.evaluation.pictures import Scenes, drawn_pictures, real_pictures
from sg2im_jax.evaluation.protocol import Protocol
from sg2im_jax.runtime import atomic_files, command_line, compilation
from sg2im_jax.sample import fingerprint
from sg2im_jax.sampling.sampler import Sampler
from sg2im_jax.storage import checkpoints, work_directory

_SHEET_SIDE = 128  # pixels


def evaluate(
  workdir: str | os.PathLike,
  protocol: Protocol,
  *,
  backbone: str = 'efficientnet-lite0',
  backbone_weights: str | None = None,
  data_dir: str | None = None,
  source_dir: str | None = None,
  output_dir: str | os.PathLike | None = None,
) -> dict[str, Any]:
  """Scores the newest checkpoint of a work directory; writes the three files and returns what
  evaluation.json holds.

  Args:
    workdir: of a training run.
    protocol: what to evaluate and how.
    backbone: name of a backbone, or none for the layout alone.
    backbone_weights: a PyTorch file of its weights; None for the published ones.
    data_dir, source_dir: of the data set; None for those that training had.
    output_dir: None for the work directory.
  """
  config, vocabulary, variables, step = checkpoints.load_generator(workdir)
  config.data.data_dir = data_dir or config.data.data_dir
  config.data.source_dir = source_dir or config.data.source_dir
  if protocol.stretch is None:
    protocol = dataclasses.replace(protocol, stretch=config.sampling.stretch)
  network = None if backbone == 'none' else backbones.load_backbone(backbone, backbone_weights)
  builder = input_pipeline.prepare(config.data)

  def scenes_of(split: str, numbers: np.ndarray) -> Scenes:
    return Scenes(builder, config, vocabulary, split, numbers, protocol.seed)

  scenes = scenes_of(protocol.split, _numbers(builder, protocol))
  sampler = Sampler(models.build_generator(config, vocabulary), variables)
  batch_size = sampler.batch_size(len(scenes))
  if protocol.masks == 'ground_truth' and 'masks' not in builder.info.features:
    raise UserError(f'{builder.data_dir}: has no masks; leave --masks=predicted')

  drawn, layouts = drawn_pictures(sampler, scenes, protocol, network)
  others = scenes_of(*_other_images(builder, protocol.split, len(scenes)))
  known = ScoredBoxes.concatenate(
    ScoredBoxes.of_batch(batch.boxes, batch, vocabulary) for batch in others.batches(batch_size)
  )
  mean_boxes = layout_metrics.mean_box_of_class(
    known.object_class, known.boxes, vocabulary.num_objects
  )
  results = {
    'model': {
      'workdir': str(workdir),
      'step': step,
      'fingerprint': fingerprint(config, vocabulary, variables),
      'data': config.data.name,
      'image_size': list(config.data.image_size),
    },
    'protocol': report.describe_protocol(protocol, config, len(scenes), others.split, network),
    'layout': {
      'predicted': layout_metrics.scores(layouts),
      'mean box of class': layout_metrics.scores(
        layouts.with_boxes(mean_boxes[layouts.object_class])
      ),
      'ground truth': layout_metrics.scores(layouts.with_boxes(layouts.true_boxes)),
    },
  }
  if network is not None:
    real = real_pictures(scenes, protocol, network, batch_size)
    other = real_pictures(others, protocol, network, batch_size)
    print('computing the scores of the pictures')
    results['images'] = {
      'drawn': scores.image_scores(
        drawn.activations, real.activations, protocol, protocol.samples_per_graph
      ),
      'real': scores.image_scores(other.activations, real.activations, protocol, 1),
    }
    print(f'training two classifiers of objects, {classification.NUM_STEPS} steps each')
    results['objects'] = scores.classification_scores(
      drawn.crops, real.crops, other.crops, vocabulary.num_objects, protocol.seed
    )
  _write(pathlib.Path(output_dir or workdir), results, drawn.shown, scenes)
  return results


def load_image_ids(path: str | os.PathLike) -> tuple[str, ...]:
  """The image ids of a text file, one a line."""
  try:
    ids = tuple(pathlib.Path(path).read_text(encoding='utf-8').split())
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(
      f'{path}: cannot be read ({error}); expected a text file with an image id on each line'
    ) from error
  if not ids:
    raise UserError(f'{path}: is empty; expected an image id on each line')
  return ids


def _numbers(builder, protocol: Protocol) -> np.ndarray:
  """The places in its split of the images to evaluate."""
  numbers = np.arange(input_pipeline.num_examples(builder, protocol.split))
  if protocol.image_ids is not None:
    found = np.array(list(prepared.image_ids(builder, protocol.split)))
    missing = sorted(set(protocol.image_ids) - set(found))
    if missing:
      raise UserError(
        f'{len(missing)} of {len(protocol.image_ids)} image ids are not in split {protocol.split} '
        'of '
        f'{builder.data_dir}, such as {missing[0]}; expected ids like {found[0]}'
      )
    numbers = np.flatnonzero(np.isin(found, protocol.image_ids))
  numbers = numbers[: protocol.num_graphs]
  fewest = max(image_metrics.FEWEST_PICTURES, protocol.num_splits)
  if len(numbers) < fewest:
    raise UserError(
      f'{len(numbers)} graphs of split {protocol.split} to evaluate, expected at least {fewest}, '
      'for '
      f'{protocol.num_splits} splits of the Inception score; see --num_graphs and --num_splits'
    )
  return numbers


def _other_images(builder, split: str, count: int) -> tuple[str, np.ndarray]:
  """Real images beside those of the split, as many where there are so many: of train, or of val
  beside train.
  """
  other = 'val' if split == 'train' else 'train'
  return other, np.arange(min(count, input_pipeline.num_examples(builder, other)))


def _write(directory: pathlib.Path, results: dict[str, Any], shown: np.ndarray, scenes: Scenes):
  """evaluation.json, evaluation.md and evaluation.png."""
  image = next(scenes.batches(len(shown))).image
  rows = [
    [drawing.enlarge(picture, _SHEET_SIDE) for picture in (real, *samples)]
    for real, samples in zip(image, shown)
  ]
  samples = [f'sample {number}' for number in range(1, shown.shape[1] + 1)]
  work_directory.write_json(directory / 'evaluation.json', results)
  try:
    atomic_files.write(directory / 'evaluation.md', report.markdown(results).encode())
    encoded = io.BytesIO()
    drawing.table(rows, ['real image', *samples]).save(encoded, 'png')
    atomic_files.write(directory / 'evaluation.png', encoded.getvalue())
  except OSError as error:
    raise UserError(
      f'cannot write to {directory}: {error.strerror}; free space or give another --output_dir'
    ) from error


def main(argv: Sequence[str]):
  compilation.configure()
  values = flags.FLAGS
  if values.compare:
    if len(argv) == 1:
      raise UserError(
        '--compare is followed by nothing; expected evaluated work directories: --compare DIR1 '
        'DIR2 ...'
      )
    print(report.comparison(argv[1:]))
    return
  refuse_arguments(argv)
  if values.workdir is None:
    raise UserError(
      '--workdir is missing; expected the work directory of a training run, or --compare DIR1 DIR2 '
      '...'
    )
  protocol = Protocol(
    split=values.split,
    num_graphs=values.num_graphs,
    image_ids=load_image_ids(values.image_ids) if values.image_ids else None,
    samples_per_graph=values.samples_per_graph,
    boxes=values.boxes,
    masks=values.masks,
    stretch=values.stretch,
    image_size=_image_size(values.image_size),
    num_splits=values.num_splits,
    seed=values.seed,
  )
  results = evaluate(
    values.workdir,
    protocol,
    backbone=values.backbone,
    backbone_weights=values.backbone_weights,
    data_dir=values.data_dir,
    source_dir=values.source_dir,
    output_dir=values.output_dir,
  )
  print(report.markdown(results))
  print(
    f'written to {values.output_dir or values.workdir}: evaluation.json, evaluation.md, '
    'evaluation.png'
  )


def _image_size(sides: Sequence[str] | None) -> tuple[int, int] | None:
  if sides is None:
    return None
  if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
    raise UserError(
      f'--image_size is {",".join(sides)}, expected height and width in pixels, such as 256,256'
    )
  return int(sides[0]), int(sides[1])


def _define_flags():
  flags.DEFINE_string('workdir', None, 'Work directory of a training run.')
  flags.DEFINE_bool(
    'compare',
    False,
    'Instead of evaluating: set the evaluated work directories that are named at the '
    'end of the command side by side.',
  )
  flags.DEFINE_string('split', 'val', 'Whose graphs and images: train, val or test.')
  flags.DEFINE_integer(
    'num_graphs',
    None,
    'How many graphs, from the start of the split; by default all.',
    lower_bound=1,
  )
  flags.DEFINE_string(
    'image_ids', None, 'Text file of the ids of the images to take, one a line; by default all.'
  )
  flags.DEFINE_integer('samples_per_graph', 5, 'Pictures of each graph.', lower_bound=1)
  flags.DEFINE_enum('boxes', 'predicted', ['predicted', 'ground_truth'], 'Where to paint objects.')
  flags.DEFINE_enum(
    'masks', 'predicted', ['predicted', 'ground_truth'], 'In what shape to paint objects.'
  )
  flags.DEFINE_bool(
    'stretch',
    None,
    'Spread each picture over its own darkest to brightest value, as the published '
    'sampling does. That changes every score of pictures. By default what the config says, see '
    'sample.',
  )
  flags.DEFINE_list(
    'image_size',
    None,
    'Height and width, such as 256,256, that drawn and real pictures are brought '
    "to (bicubic) before the backbone; by default the model's own.",
  )
  flags.DEFINE_enum(
    'backbone',
    'efficientnet-lite0',
    ['efficientnet-lite0', 'inception-2015', 'none'],
    'Whose features to compare by; none for the layout alone.',
  )
  flags.DEFINE_string(
    'backbone_weights',
    None,
    'PyTorch file of its weights; by default those that come with a package, or are downloaded.',
  )
  flags.DEFINE_integer('num_splits', 5, 'Splits of the Inception score.', lower_bound=1)
  flags.DEFINE_integer(
    'seed', 0, 'The same seed gives the same figures.', lower_bound=0, upper_bound=2**31 - 1
  )
  flags.DEFINE_string(
    'data_dir', None, 'Where the prepared data lies; by default where training had it.'
  )
  flags.DEFINE_string(
    'source_dir', None, 'Where the official files lie; by default where training had them.'
  )
  flags.DEFINE_string(
    'output_dir', None, 'Folder for the three files; by default the work directory.'
  )


if __name__ == '__main__':
  _define_flags()
  command_line.run(main, arguments=True)
