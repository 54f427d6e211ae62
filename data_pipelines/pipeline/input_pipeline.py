"""Batches of scenes from prepared records, as one tf.data pipeline for every data set.

The order of training is a function of the seed alone: epoch e is the records shuffled with (seed,
e), the epochs follow one another without a gap, and batch k is the k-th slice of that stream. What
is random in a visit (objects, relations, flip) is a function of (seed, epoch, record). A restart at
any step therefore continues with the very next batch; it reads again only the part of one epoch
that it skips.
"""

# The stubs of TensorFlow know no slices with `...` and few nested structures.
# pyright: reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false, reportReturnType=false

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from data_pipelines import atomic_files
from data_pipelines.pipeline import records, relation_ops
from data_pipelines.pipeline.parallel import BeamSettings, OrderedMap
from data_pipelines.pipeline.scene_builder import SceneBuilder
from data_pipelines.pipeline.tensorflow_quietly import tf
from data_pipelines.scene_graphs.errors import Fault, SettingsError, UserError
from data_pipelines.scene_graphs.vocabulary import GEOMETRIC_PREDICATES, Vocabulary
from data_pipelines.settings.data_settings import DataSettings, VisitSettings

# TensorFlow would otherwise reserve the memory of the GPUs on which JAX trains.
tf.config.set_visible_devices([], 'GPU')

SHUFFLE_BUFFER = 20_000  # records; smaller splits are shuffled as a whole
MAX_THREADS = 16  # more do not help one pipeline

# Of the functions that a pipeline maps: none branches on a tensor, and to convert them takes longer
# than everything else of building a pipeline.
_as_written = tf.autograph.experimental.do_not_convert
_OPPOSITES = {
  'left of': 'right of',
  'right of': 'left of',
  'left-facing': 'right-facing',
  'right-facing': 'left-facing',
}
EVALUATION_EPOCH = -1  # of the random numbers of evaluation; no epoch of training has this number


def prepare_records(
  make_builder: Callable[[DataSettings], SceneBuilder],
  settings: DataSettings,
  beam: BeamSettings | None = None,
) -> SceneBuilder:
  """A builder, prepared now unless it has been before; see `preparation.prepare`.

  Args:
    make_builder: of the data set, see `data_sets.DataSet`.
    settings: of the data.
    beam: who makes the records; None for threads of this process.

  Raises:
    UserError: the files that the records are made from are missing or damaged, or the records
      cannot be written.
  """
  verbosity = logging.get_verbosity()
  # tensorflow-datasets warns of every configuration that its class does not list.
  logging.set_verbosity(logging.ERROR)
  try:
    builder = make_builder(settings)
  finally:
    logging.set_verbosity(verbosity)
  if not builder.data_path.exists() and '://' not in settings.data_dir:
    atomic_files.check_writable(pathlib.Path(settings.data_dir), 'data.data_dir')
  try:
    with _ordered_map(builder, beam) as builder.ordered_map:
      # Writes to a directory of another name and renames it at the end: no half-written records.
      builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False)
      )
  except OSError as error:
    raise SettingsError(
      Fault(
        'data.data_dir',
        f'is {settings.data_dir}, where {builder.data_dir} cannot be prepared ({error}); expected '
        'a directory with room that can be written',
      )
    ) from error
  return builder


def _ordered_map(
  builder: SceneBuilder, beam: BeamSettings | None
) -> contextlib.AbstractContextManager[OrderedMap]:
  """Who makes the records."""
  if beam is None or builder.data_path.exists():
    return contextlib.nullcontext(builder.ordered_map)
  try:
    from data_pipelines.pipeline import beam_map  # takes seconds, and is an extra
  except ModuleNotFoundError as error:
    raise UserError(
      f'--beam_runner={beam.runner} needs Apache Beam ({error}): pip install "sg2im_jax[beam]"'
    ) from None
  return beam_map.opened(beam.runner, beam.options, builder.data_path.parent)


def stored_vocabulary(builder: tfds.core.DatasetBuilder) -> Vocabulary:
  """The names behind the ids of the prepared records."""
  metadata = records.metadata_of(builder)
  names = Vocabulary.from_dict(metadata['vocabulary'])
  return dataclasses.replace(names, attribute_names=tuple(metadata.get('attribute_names', ())))


def num_examples(builder: tfds.core.DatasetBuilder, split: str) -> int:
  """The number of scenes of a split, or of several joined by +, such as val+test."""
  return sum(info.num_examples for info in _split_infos(builder, split))


def split_files(builder: tfds.core.DatasetBuilder, split: str) -> list[str]:
  """The files of a split, or of several joined by +, in the order in which they are read."""
  return [str(path) for info in _split_infos(builder, split) for path in info.filepaths]


def training_batches(
  builder: tfds.core.DatasetBuilder,
  settings: VisitSettings,
  vocabulary: Vocabulary,
  *,
  batch_size: int,
  seed: int,
  first_step: int,
  shard_index: int = 0,
  num_shards: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
  """The endless batches of split `train` from `first_step` on.

  Args:
    builder: from `prepare`.
    settings: how scenes are visited.
    vocabulary: of the model, whose ids the batches have; it holds every name of the data set's.
    batch_size: images of a batch over all shards; B = batch_size / num_shards.
    seed: of the order and of everything random.
    first_step: number of the first batch.
    shard_index: which rows to return: part number `shard_index` of each batch, of `num_shards`
      equal ones. The shards of a step, concatenated, are the batch that a single shard would get.
    num_shards: number of processes that read.

  Yields:
    Arrays by the names of `SceneBatch`'s fields.

  Raises:
    UserError: see `check`; or the shards would differ in size.
  """
  if batch_size % num_shards:
    raise SettingsError(
      Fault('batch_size', f'is {batch_size}, expected a multiple of {num_shards}, the processes')
    )
  make_scene, make_batch = _stages(builder, settings, vocabulary, flip=settings.flip)
  epoch_size = num_examples(builder, 'train')
  first_epoch, num_skipped = divmod(first_step * batch_size, epoch_size)

  @_as_written
  def shuffled_records(epoch: tf.Tensor) -> tf.data.Dataset:
    visits = _visits(builder, 'train', seed, epoch)
    return visits.shuffle(
      SHUFFLE_BUFFER, seed=_epoch_key(seed, epoch), reshuffle_each_iteration=False
    )

  epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
  visits = _shard(
    epochs.flat_map(shuffled_records).skip(num_skipped), batch_size, shard_index, num_shards
  )
  batches = visits.map(make_scene, tf.data.AUTOTUNE).batch(
    batch_size // num_shards, drop_remainder=True
  )
  return _iterate(batches.map(make_batch, tf.data.AUTOTUNE))


def evaluation_batches(
  builder: tfds.core.DatasetBuilder,
  settings: VisitSettings,
  vocabulary: Vocabulary,
  *,
  split: str,
  batch_size: int,
  seed: int,
  num_examples: int | None = None,
  chosen: Sequence[int] | None = None,
  shard_index: int = 0,
  num_shards: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
  """Every example of a split once, in the order of the files.

  Args:
    builder: from `prepare`.
    settings: how scenes are visited.
    vocabulary: of the model, whose ids the batches have; it holds every name of the data set's.
    split: train, val or test, or several of them joined by +, one after the other.
    batch_size: images of a batch over all shards; B = batch_size / num_shards.
    seed: of everything random.
    num_examples: how many examples from the start; None for all.
    chosen: numbers of the examples to yield, in the order of the files; each has the same random
      numbers as when all are yielded. None for all.
    shard_index: which rows to return: part number `shard_index` of each batch, of `num_shards`
      equal ones.
    num_shards: number of processes that read.

  Yields:
    Arrays by the names of `SceneBatch`'s fields; the last batch is filled up with rows of zeros,
    masks included.

  Raises:
    UserError: see `check`; or there is no such split, or the shards would differ in size.
  """
  if batch_size % num_shards:
    raise UserError(
      f'{batch_size} images a batch cannot be split evenly among {num_shards} processes'
    )
  make_scene, make_batch = _stages(builder, settings, vocabulary, flip=False)
  split_size = sum(info.num_examples for info in _split_infos(builder, split))
  wanted = np.ones(split_size, bool) if chosen is None else np.isin(np.arange(split_size), chosen)
  count = int(wanted.sum()) if num_examples is None else min(num_examples, int(wanted.sum()))
  num_rows = -(-count // batch_size) * batch_size

  visits = _visits(builder, split, seed, tf.constant(EVALUATION_EPOCH, tf.int64))
  visits = visits.filter(_as_written(lambda _, key: tf.gather(wanted, key[1]))).take(count)
  scenes = _shard(visits, batch_size, shard_index, num_shards).map(make_scene, tf.data.AUTOTUNE)
  padding = tf.nest.map_structure(
    lambda spec: tf.zeros(spec.shape, spec.dtype), scenes.element_spec
  )
  scenes = scenes.concatenate(tf.data.Dataset.from_tensors(padding).repeat()).take(
    num_rows // num_shards
  )
  batches = scenes.batch(batch_size // num_shards, drop_remainder=True)
  return _iterate(batches.map(make_batch, tf.data.AUTOTUNE))


def check(builder: tfds.core.DatasetBuilder, settings: VisitSettings, vocabulary: Vocabulary):
  """Raises unless visits to the prepared records fit the settings and the model's vocabulary.

  Raises:
    SettingsError: there are too few slots, or the data set lacks the geometric predicates that the
      relations need; names all such settings.
    UserError: the model's vocabulary lacks a name of the data set.
  """
  names = stored_vocabulary(builder)
  faults = _slot_faults(settings, records.metadata_of(builder))
  missing = [name for name in _geometric_names(settings) if name not in names.predicate_names]
  if missing:
    faults.append(
      Fault(
        'data.relations',
        f'is {settings.relations!r}, but the data set has no predicate "{missing[0]}", which '
        "geometric relations need; expected 'stored' or 'none'",
      )
    )
  if faults:
    raise SettingsError(faults, str(builder.data_dir))
  names.translation(vocabulary)


def check_slots(settings: VisitSettings, metadata: Mapping[str, Any], source: str):
  """Raises unless the slots hold every scene of a prepared data set, once subsampled if asked for.

  Args:
    settings: with the slots.
    metadata: of the builder: `max_objects` and `max_relations` of a scene.
    source: what the error message begins with.

  Raises:
    SettingsError: there are too few slots.
  """
  faults = _slot_faults(settings, metadata)
  if faults:
    raise SettingsError(faults, source)


def _slot_faults(settings: VisitSettings, metadata: Mapping[str, Any]) -> list[Fault]:
  num_objects, num_relations = metadata['max_objects'], metadata['max_relations']
  if settings.subsample:  # both are cut down to the slots
    num_objects, num_relations = max(1, min(num_objects, settings.max_objects - 1)), 0
  num_visited = {'geometric': num_objects, 'mixed': num_objects, 'stored': num_relations, 'none': 0}
  needed = {
    'max_objects': num_objects + 1,
    'max_triples': num_objects + num_visited[settings.relations],
  }
  return [
    Fault(
      f'data.{name}',
      f'is {getattr(settings, name)}, but scenes of up to {num_objects} objects need {slots} slots',
      str(slots),
    )
    for name, slots in needed.items()
    if getattr(settings, name) < slots
  ]


def _geometric_names(settings: VisitSettings) -> Sequence[str]:
  """The predicates that these relations need."""
  return GEOMETRIC_PREDICATES if settings.relations in ('geometric', 'mixed') else ()


def _split_infos(builder: tfds.core.DatasetBuilder, split: str) -> list[tfds.core.SplitInfo]:
  for name in split.split('+'):
    if name not in builder.info.splits:
      raise UserError(
        f'{builder.data_dir}: no split {name!r}; it has {", ".join(sorted(builder.info.splits))}'
      )
  return [builder.info.splits[name] for name in split.split('+')]


def _epoch_key(seed: int, epoch: tf.Tensor) -> tf.Tensor:
  """int64: one number for each pair of a seed and an epoch."""
  return seed % 2**31 * 2**32 + epoch


def _visits(
  builder: tfds.core.DatasetBuilder, split: str, seed: int, epoch: tf.Tensor
) -> tf.data.Dataset:
  """The records of a split, not yet parsed, each with int64[2], the key of its random numbers."""
  return (
    tf.data.TFRecordDataset(split_files(builder, split))
    .enumerate()
    .map(_as_written(lambda index, record: (record, tf.stack([_epoch_key(seed, epoch), index]))))
  )


def _shard(
  visits: tf.data.Dataset, batch_size: int, shard_index: int, num_shards: int
) -> tf.data.Dataset:
  """The visits of one shard, from every `batch_size` in a row.

  Comes before parsing, as most visits are dropped.
  """
  if num_shards == 1:
    return visits
  num_rows = batch_size // num_shards
  rows = slice(shard_index * num_rows, (shard_index + 1) * num_rows)
  take_rows = _as_written(lambda records, keys: (records[rows], keys[rows]))
  return visits.batch(batch_size).map(take_rows).unbatch()


def _stages(
  builder: tfds.core.DatasetBuilder,
  settings: VisitSettings,
  vocabulary: Vocabulary,
  *,
  flip: bool,
) -> tuple[Callable, Callable]:
  """The two functions of every pipeline: from a visit to a padded scene, from such a batch to the
  model's.
  """
  check(builder, settings, vocabulary)
  metadata, names = records.metadata_of(builder), stored_vocabulary(builder)
  features = records.features_of(builder)
  num_slots, kind = settings.max_objects, settings.relations
  max_relations = metadata['max_relations'] if kind in ('stored', 'mixed') else 0
  # A stored relation that is mixed in replaces a random one, so it needs no slot of its own.
  triple_budget = (
    settings.max_triples if kind == 'stored' else num_slots - 1 + metadata['max_relations']
  )
  geometric_ids = [names.predicate_names.index(name) for name in _geometric_names(settings)]
  mirrored_ids = _mirrored(names.predicate_names)
  mirrored_slots = np.array([0, *(1 + id for id in _mirrored(names.attribute_names))], np.int32)
  object_ids, predicate_ids, attribute_ids = names.translation(vocabulary)
  # In slots they are 1 higher, and 0 stands for none.
  attribute_ids = np.concatenate([[0], attribute_ids + 1]).astype(np.int32)
  max_attributes = settings.max_attributes if vocabulary.attribute_names else 0

  @_as_written
  def make_scene(record: tf.Tensor, key: tf.Tensor) -> dict[str, tf.Tensor]:
    scene = features.deserialize_example(record)
    if max_attributes:
      scene['attribute_slots'] = _attribute_slots(scene, max_attributes)
    if settings.subsample:
      scene |= _subsample(scene, key, num_slots - 1, triple_budget)
    num_objects = tf.shape(scene['boxes'])[0]
    num_relations = tf.minimum(tf.shape(scene['relations'])[0], max_relations)
    slot_offsets = [1, 0, 1]  # slot 0 is __image__
    slot_relations = tf.cast(scene['relations'][:max_relations], tf.int32) + slot_offsets
    arrays = {
      'object_class': _pad(tf.cast(scene['object_class'], tf.int32), 1, num_slots),
      'object_mask': tf.range(num_slots) <= num_objects,
      'boxes': _pad(tf.concat([[[0.0, 0.0, 1.0, 1.0]], scene['boxes']], 0), 0, num_slots),
      'image': scene['image'],
      'relations': _pad(slot_relations, 0, max_relations),
      'num_relations': num_relations,
      'uniform': tf.random.stateless_uniform([num_slots, 4], key),
    }
    if max_attributes:
      arrays['attributes'] = _pad(scene['attribute_slots'], 0, num_slots)
    if 'masks' in scene:
      masks = tf.cast(scene['masks'], tf.uint8)
      arrays['masks'] = _pad(
        tf.concat([tf.ones((1, *masks.shape[1:]), tf.uint8), masks], 0), 0, num_slots
      )
    return arrays

  @_as_written
  def make_batch(scenes: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    uniform = scenes.pop('uniform')
    # Slot 0 is __image__, which has no random relation, so its numbers decide on the flip.
    if flip:
      scenes = _mirror(scenes, uniform[:, 0, 0] < 0.5, mirrored_ids, mirrored_slots)
    stored, num_stored = scenes.pop('relations'), scenes.pop('num_relations')
    if kind in ('stored', 'none'):
      triples, valid = stored, tf.sequence_mask(num_stored, max_relations)
    else:
      triples, valid = relation_ops.random_geometric(
        scenes['boxes'],
        scenes.get('masks'),
        scenes['object_mask'],
        uniform[:, 1:, :2],
        geometric_ids,
      )
    if kind == 'mixed' and max_relations:
      triples, valid = relation_ops.mix(triples, valid, stored, num_stored, uniform[:, 1:, 2:])
    triples, triple_mask = relation_ops.with_in_image_triples(
      triples, valid, scenes['object_mask'], settings.max_triples
    )
    subject, predicate, object_ = tf.unstack(triples, axis=-1)
    if max_attributes:
      scenes['attributes'] = tf.gather(attribute_ids, scenes['attributes'])
    return {
      **scenes,
      'object_class': tf.gather(object_ids, scenes['object_class']),
      'triples': tf.stack([subject, tf.gather(predicate_ids, predicate), object_], -1),
      'triple_mask': triple_mask,
    }

  return make_scene, make_batch


def _mirrored(names: Sequence[str]) -> list[int]:
  """By the id of a name, the id of what it is in a mirrored image: left and right change places."""
  ids = {name: index for index, name in enumerate(names)}
  return [ids.get(_OPPOSITES.get(name, name), index) for index, name in enumerate(names)]


def _attribute_slots(scene: dict[str, tf.Tensor], max_attributes: int) -> tf.Tensor:
  """int32[1 + N, A]: 1 + attribute id in the slots of the image and of each object, 0 elsewhere.

  The first A attributes of each are kept.
  """
  owners, ids = tf.unstack(tf.cast(scene['attributes'], tf.int32), axis=-1)
  earlier = tf.linalg.band_part(tf.cast(owners[:, None] == owners[None, :], tf.int32), -1, 0)
  positions = tf.reduce_sum(earlier, 1) - 1
  fits = positions < max_attributes
  places = tf.boolean_mask(tf.stack([owners + 1, positions], -1), fits)
  shape = tf.stack([tf.shape(scene['boxes'])[0] + 1, max_attributes])
  slots = tf.scatter_nd(places, tf.boolean_mask(ids + 1, fits), shape)
  return tf.ensure_shape(slots, (None, max_attributes))


def _subsample(
  scene: dict[str, tf.Tensor], key: tf.Tensor, max_objects: int, max_triples: int
) -> dict[str, tf.Tensor]:
  """The scene with those objects and relations that `relation_ops.subsample` keeps."""
  num_objects, num_relations = tf.shape(scene['boxes'])[0], tf.shape(scene['relations'])[0]
  # A key of its own: these numbers are independent of those of the relations and the flip.
  uniform = tf.random.stateless_uniform([num_objects + num_relations], tf.random.fold_in(key, 1))
  kept, kept_relations = relation_ops.subsample(
    scene['relations'], uniform[:num_objects], uniform[num_objects:], max_objects, max_triples
  )
  arrays = {
    name: tf.gather(scene[name], kept)
    for name in ('object_class', 'boxes', 'masks')
    if name in scene
  }
  if 'attribute_slots' in scene:  # which begin with those of the image
    arrays['attribute_slots'] = tf.gather(scene['attribute_slots'], tf.concat([[0], kept + 1], 0))
  return arrays | {'relations': kept_relations}


def _pad(values: tf.Tensor, before: int, length: int) -> tf.Tensor:
  """Zeros before and after `values` along the first axis, so that it is `length` long."""
  after = length - before - tf.shape(values)[0]
  padded = tf.pad(values, [[before, after]] + [[0, 0]] * (values.shape.rank - 1))
  return tf.ensure_shape(padded, (length, *values.shape[1:]))


def _mirror(
  scenes: dict[str, tf.Tensor],
  flipped: tf.Tensor,
  mirrored_ids: Sequence[int],
  mirrored_slots: np.ndarray,
) -> dict[str, tf.Tensor]:
  """The batch with the images where `flipped` (bool[B]) mirrored left to right.

  Mirrors pixels, masks, boxes, stored relations and attributes.
  """
  x0, y0, x1, y1 = tf.unstack(scenes['boxes'], axis=-1)
  mirrored = {
    'image': tf.reverse(scenes['image'], [2]),
    'boxes': tf.where(scenes['object_mask'][..., None], tf.stack([1 - x1, y0, 1 - x0, y1], -1), 0),
    'relations': tf.stack(
      [
        scenes['relations'][..., 0],
        tf.gather(mirrored_ids, scenes['relations'][..., 1]),
        scenes['relations'][..., 2],
      ],
      -1,
    ),
  }
  if 'masks' in scenes:
    mirrored['masks'] = tf.reverse(scenes['masks'], [3])
  if 'attributes' in scenes:
    mirrored['attributes'] = tf.gather(mirrored_slots, scenes['attributes'])
  chosen = {
    name: tf.where(tf.reshape(flipped, [-1] + [1] * (values.shape.rank - 1)), values, scenes[name])
    for name, values in mirrored.items()
  }
  return scenes | chosen


def _iterate(batches: tf.data.Dataset) -> Iterator[dict[str, np.ndarray]]:
  options = tf.data.Options()
  options.deterministic = True
  options.threading.private_threadpool_size = min(os.cpu_count() or 1, MAX_THREADS)
  options.threading.max_intra_op_parallelism = 1
  return batches.prefetch(2).with_options(options).as_numpy_iterator()
