"""Scores a trained model: its layouts, its pictures, and the objects in them."""

import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines import atomic_files, preparation
from data_pipelines.drawing import sheets
from data_pipelines.pipeline import input_pipeline, prepared
from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.settings.data_settings import DataSettings
from sg2im_jax.evaluation import (
  attributes,
  backbones,
  classification,
  edits,
  named_protocols,
  report,
)
from sg2im_jax.evaluation.backbones import Activations
from sg2im_jax.evaluation.controls import controls
from sg2im_jax.evaluation.pictures import Pictures, Scenes, real_pictures, sampled_pictures
from sg2im_jax.evaluation.protocol import Protocol
from sg2im_jax.metrics import image_metrics, layout_metrics
from sg2im_jax.metrics.image_metrics import IMAGE_METRICS, ScoredPictures
from sg2im_jax.metrics.layout_metrics import ScoredBoxes
from sg2im_jax.metrics.metric import score_all
from sg2im_jax.runtime import reporting
from sg2im_jax.sampling.trained_model import TrainedModel

_SHEET_SIDE = 128  # pixels


def evaluate(
  model: TrainedModel | str | os.PathLike,
  protocol: Protocol,
  *,
  backbone: str | None = None,
  backbone_weights: str | None = None,
  data_dir: str | None = None,
  source_dir: str | None = None,
  output_dir: str | os.PathLike | None = None,
) -> dict[str, Any]:
  """Scores a model; writes evaluation.json, evaluation.md and evaluation.png.

  The protocol is checked against the data set before anything is computed.

  Args:
    model: a model, or a work directory, whose newest checkpoint is loaded.
    protocol: what to evaluate and how.
    backbone: name of a backbone, or none for the layout alone; None for that of the protocol's
      name, or efficientnet-lite0.
    backbone_weights: a PyTorch file of its weights; None for the published ones.
    data_dir: of the prepared data set; None for that of the training.
    source_dir: of the official files of the data set; None for that of the training.
    output_dir: None for the work directory; for a model that was given itself, None writes nothing.

  Returns:
    What evaluation.json holds.

  Raises:
    SettingsError: the protocol does not fit the data set, or the records lack what its name
      stands for.
    UserError: the work directory, the data set or the backbone cannot be read, or the files cannot
      be written.
  """
  workdir = None if isinstance(model, TrainedModel) else str(model)
  if not isinstance(model, TrainedModel):
    model = TrainedModel.load(model)
  settings, vocabulary = model.settings.with_data(data_dir, source_dir), model.vocabulary
  asked = named_protocols.resolved(protocol, settings.data, backbone)
  protocol, data = asked.protocol, asked.data
  if protocol.stretch is None:
    protocol = protocol.replace(stretch=settings.sampling.stretch)
  directory = output_dir or workdir
  if directory is not None:  # before minutes of work
    atomic_files.check_writable(pathlib.Path(directory))
  builder = preparation.prepare(data)
  asked.check_records(builder)
  network = None
  if asked.backbone != 'none':
    network = backbones.load_backbone(asked.backbone, backbone_weights)

  # Graphs are drawn without their attributes, as those of the models that know none.
  bare = data.replace(max_attributes=0)

  def scenes_of(split: str, numbers: np.ndarray, data: DataSettings = bare) -> Scenes:
    return Scenes(
      builder=builder,
      settings=data,
      vocabulary=vocabulary,
      split=split,
      numbers=numbers,
      seed=protocol.seed,
    )

  scenes = scenes_of(protocol.split, _numbers(builder, protocol))
  chosen = set(scenes.numbers.tolist())
  asked.check_ids(
    image_id
    for number, image_id in enumerate(prepared.image_ids(builder, protocol.split))
    if number in chosen
  )
  features = cast(Mapping[str, Any], builder.info.features)
  if protocol.masks == 'ground_truth' and 'masks' not in features:
    raise SettingsError(
      Fault('masks', 'is ground_truth, but the data set has no masks', 'predicted'),
      str(builder.data_dir),
    )

  batch_size = model.sampler.batch_size(len(scenes))
  sampled, layouts, overlap = sampled_pictures(model, scenes, protocol, network)
  others = scenes_of(*_other_images(builder, protocol.split, len(scenes)))
  known = ScoredBoxes.concatenate(
    ScoredBoxes.of_batch(np.asarray(batch.boxes), batch, vocabulary)
    for batch in others.batches(batch_size)
  )
  mean_boxes = layout_metrics.mean_box_of_class(
    known.object_class, known.boxes, vocabulary.num_objects
  )
  results = {
    'model': {
      'workdir': workdir,
      'step': model.step,
      'fingerprint': model.fingerprint,
      'data': settings.data.name,
      'image_size': list(settings.data.image_size),
    },
    'protocol': report.describe_protocol(
      protocol, asked.changed, data, len(scenes), others.split, network
    ),
    'layout': {
      'predicted': layout_metrics.scores(layouts),
      'mean box of class': layout_metrics.scores(
        layouts.with_boxes(mean_boxes[layouts.object_class])
      ),
      'ground truth': layout_metrics.scores(layouts.with_boxes(layouts.true_boxes)),
    },
    'layout_overlap': overlap,
  }

  if network is not None:
    controlled = controls(model, scenes, protocol, network)
    real = real_pictures(scenes, protocol, network, batch_size)
    other = real_pictures(others, protocol, network, batch_size)
    reporting.info('computing the scores of the pictures')
    pictures = {
      'drawn': sampled,
      'perturbed': controlled.perturbed,
      'reconstructed': controlled.reconstructed,
      'real': other,
    }
    results['images'] = {
      name: _image_scores(one, real, protocol, protocol.samples_per_graph if name == 'drawn' else 1)
      for name, one in pictures.items()
      if one is not None
    }
    results['changes'] = controlled.changes
    reporting.info(f'training two classifiers of objects, {classification.NUM_STEPS} steps each')
    of_real, of_sampled = (
      classification.Classifier(crops, vocabulary.num_objects, protocol.seed)
      for crops in (other.crops, sampled.crops)
    )
    results['objects'] = classification.scores(
      sampled=sampled.crops, real=real.crops, of_real=of_real, of_sampled=of_sampled
    )
    of_attributes = None
    if vocabulary.attribute_names and data.max_attributes:
      reporting.info('training a classifier of attributes')
      learned = _other_images(builder, protocol.split, attributes.MOST_LEARNED)
      of_attributes = attributes.trained(scenes_of(*learned, data), protocol.seed, batch_size)
      results['attributes'] = attributes.scores(
        model,
        scenes_of(protocol.split, scenes.numbers, data),
        of_attributes,
        protocol,
        batch_size,
      )
    if settings.tokens is not None and protocol.num_edited:
      results['edits'] = edits.scores(
        model,
        scenes,
        protocol,
        network,
        _activations(real).features,
        of_real,
        of_attributes,
      )
  if directory is not None:
    try:
      _write(pathlib.Path(directory), results, sampled.shown, scenes)
    except SettingsError:
      reporting.info(report.markdown(results))  # so that they are not lost
      raise
  return results


def _numbers(builder: tfds.core.DatasetBuilder, protocol: Protocol) -> np.ndarray:
  """The numbers in their split of the images to evaluate."""
  numbers = np.arange(input_pipeline.num_examples(builder, protocol.split))
  if protocol.image_ids is not None:
    found = np.array(list(prepared.image_ids(builder, protocol.split)))
    missing = sorted(set(protocol.image_ids) - set(found))
    if missing:
      raise SettingsError(
        Fault(
          'image_ids',
          f'names other images: {len(missing)} of {len(protocol.image_ids)} image ids are not in '
          f'split {protocol.split}, such as {missing[0]}; expected ids like {found[0]}',
        ),
        str(builder.data_dir),
      )
    numbers = np.flatnonzero(np.isin(found, protocol.image_ids))
  numbers = numbers[: protocol.num_graphs]
  fewest = max(image_metrics.FEWEST_PICTURES, protocol.num_splits)
  if len(numbers) < fewest:
    setting = 'num_splits' if len(numbers) >= image_metrics.FEWEST_PICTURES else 'num_graphs'
    raise SettingsError(
      Fault(
        setting,
        f'is {getattr(protocol, setting)}: there are {len(numbers)} graphs of split '
        f'{protocol.split} to evaluate, expected at least {fewest}, for KID and '
        f'{protocol.num_splits} splits of the Inception score',
      )
    )
  return numbers


def _other_images(
  builder: tfds.core.DatasetBuilder, split: str, count: int
) -> tuple[str, np.ndarray]:
  """As many real images of another split, as far as it has them: of train, or of val for train."""
  other = 'val' if split == 'train' else 'train'
  return other, np.arange(min(count, input_pipeline.num_examples(builder, other)))


def _image_scores(
  pictures: Pictures, real: Pictures, protocol: Protocol, samples_per_graph: int
) -> dict[str, Any]:
  """IMAGE_METRICS of pictures beside the real images of the evaluated split."""
  activations, of_real = (_activations(one) for one in (pictures, real))
  scored = ScoredPictures(
    features=activations.features,
    probabilities=activations.probabilities,
    real_features=of_real.features,
    crop_features=pictures.crop_features,
    real_crop_features=real.crop_features,
    samples_per_graph=samples_per_graph,
    num_splits=protocol.num_splits,
    seed=protocol.seed,
  )
  return score_all(IMAGE_METRICS, scored)


def _activations(pictures: Pictures) -> Activations:
  assert pictures.activations is not None  # there is a backbone
  return pictures.activations


def _without_nan(value: Any) -> Any:
  """The same with None for numbers that are not finite, which JSON does not have."""
  if isinstance(value, Mapping):
    return {key: _without_nan(one) for key, one in value.items()}
  if isinstance(value, list | tuple):
    return [_without_nan(one) for one in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(directory: pathlib.Path, results: dict[str, Any], shown: np.ndarray, scenes: Scenes):
  """evaluation.json, evaluation.md and evaluation.png."""
  image = np.asarray(next(scenes.batches(len(shown))).image)
  rows = [
    [sheets.enlarge(picture, _SHEET_SIDE) for picture in (real, *samples)]
    for real, samples in zip(image, shown)
  ]
  captions = [f'sample {number}' for number in range(1, shown.shape[1] + 1)]
  files = {
    'evaluation.json': (
      json.dumps(_without_nan(results), indent=2, allow_nan=False) + '\n'
    ).encode(),
    'evaluation.md': report.markdown(results).encode(),
    'evaluation.png': sheets.png(sheets.table(rows, ['real image', *captions])),
  }
  with atomic_files.writing_to(directory):
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
      atomic_files.write(directory / name, content)
