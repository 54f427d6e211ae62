"""Prepared data sets on disk, opened without the files and the options that they were made from."""

import dataclasses
import itertools
import pathlib
import typing
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines.pipeline import input_pipeline, records
from data_pipelines.pipeline.tensorflow_quietly import tf
from data_pipelines.pipeline.visit_options import VisitOptions
from data_pipelines.scene_graphs.errors import Fault, SettingsError, UserError
from data_pipelines.scene_graphs.graph import IN_IMAGE_PREDICATE, SceneGraph
from data_pipelines.scene_graphs.vocabulary import GEOMETRIC_PREDICATES, Vocabulary
from data_pipelines.settings.data_settings import DataSettings, Relations, VisitSettings

RELATIONS: tuple[Relations, ...] = typing.get_args(Relations)
_BATCH_SIZE = 32
_INFO_FILE = 'dataset_info.json'  # lies in every directory that tensorflow-datasets has prepared
_MAX_ATTRIBUTES = 32  # more than builders keep of an object
_LEVELS = 3  # below --data_dir: data set, configuration, version


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedScene:
  """One visit to a record, as the model gets it, without `__image__` and padding.

  Attributes:
    image_id: of the image in its data set.
    image: uint8[H, W, 3].
    graph: N objects and the relations of this visit, without `__in_image__`.
    boxes: float32[N, 4] x0, y0, x1, y1 in [0, 1].
    masks: uint8[N, M, M], 0 or 1, each in the frame of its box; None in a data set without masks.
  """

  image_id: str
  image: np.ndarray
  graph: SceneGraph
  boxes: np.ndarray
  masks: np.ndarray | None


def visits(options: VisitOptions) -> 'SplitVisits':
  """The visits that the options ask for."""
  builder = open_data_set(options.data_dir, options.dataset)
  relations = options.relations or _default_relations(builder)
  max_objects, max_triples = whole_slots(builder, relations, options.max_objects)
  return SplitVisits(
    builder,
    options.split,
    relations,
    options.max_objects or max_objects,
    options.max_triples or max_triples,
    options.seed,
  )


def open_data_set(data_dir: str, name: str | None = None) -> tfds.core.DatasetBuilder:
  """The prepared data set in `data_dir` that has `name` in its path there; of several versions the
  newest.

  Raises:
    UserError: there is none, or more than one.
  """
  root = pathlib.Path(data_dir).expanduser()
  found = _newest_versions(root)
  if not found:
    raise UserError(
      f'{data_dir}: no prepared data set in it; expected the data.data_dir of a training, which '
      'prepares the records'
    )
  matching = [path for path in found if name == path] or [
    path for path in found if (name or '') in path
  ]
  if len(matching) != 1:
    choice = matching or found
    problem = (
      f'must choose one of {len(choice)} data sets'
      if name is None
      else f'is {name!r}, which is in the path of {len(matching) or "no"} data sets; choose one'
    )
    raise SettingsError(Fault('dataset', f'{problem}: {", ".join(choice)}'), data_dir)
  directory = found[matching[0]]
  try:
    builder = tfds.builder_from_directory(directory)
    is_ours = {'vocabulary', 'max_objects', 'max_relations'} <= set(builder.info.metadata or {})
  except Exception as error:  # the readers of its JSON files raise anything at a damaged one
    raise UserError(
      f'{directory}: cannot be read ({error}); delete it, so that it is prepared again'
    ) from error
  if not is_ours:
    raise UserError(f'{directory}: not a data set of scene graphs; choose another one')
  return builder


def _newest_versions(root: pathlib.Path) -> dict[str, pathlib.Path]:
  """The prepared directories by their path in `root`, without the version."""
  if (root / _INFO_FILE).is_file():
    return {root.name: root}
  found = {}
  for level in range(1, _LEVELS + 1):
    for info in root.glob('*/' * level + _INFO_FILE):
      directory = info.parent
      # An interrupted preparation leaves a directory such as 2.0.0.incompleteXYZ.
      if not tfds.core.Version.is_valid(directory.name):
        continue
      name = str(directory.parent.relative_to(root)) if level > 1 else root.name
      if name not in found or tfds.core.Version(found[name].name) < directory.name:
        found[name] = directory
  return dict(sorted(found.items()))


def whole_slots(
  builder: tfds.core.DatasetBuilder, relations: str, max_objects: int | None = None
) -> tuple[int, int]:
  """The least max_objects and max_triples that hold every scene of every split.

  Scenes are cut to `max_objects` first, if given.
  """
  num_objects, num_stored = (
    records.metadata_of(builder)[key] for key in ('max_objects', 'max_relations')
  )
  if max_objects is not None:
    num_objects = min(num_objects, max_objects - 1)
  return num_objects + 1, num_objects + {'stored': num_stored, 'none': 0}.get(
    relations, num_objects
  )


def _default_relations(builder: tfds.core.DatasetBuilder) -> Relations:
  """What the configs in configs/ have for such a data set."""
  has_geometric_names = set(GEOMETRIC_PREDICATES) <= set(
    input_pipeline.stored_vocabulary(builder).predicate_names
  )
  if not records.metadata_of(builder)['max_relations']:
    return 'geometric' if has_geometric_names else 'none'
  return 'mixed' if has_geometric_names and 'masks' in records.features_of(builder) else 'stored'


@dataclasses.dataclass(frozen=True, eq=False)
class SplitVisits:
  """One visit to every record of a split.

  Attributes:
    builder: of the prepared data set.
    split: train, val or test.
    relations: one of `RELATIONS`.
    max_objects: object slots, with `__image__`.
    max_triples: triple slots, with the `__in_image__` triples.
    seed: of everything random.
  """

  builder: tfds.core.DatasetBuilder
  split: str
  relations: Relations
  max_objects: int
  max_triples: int
  seed: int

  @classmethod
  def of_settings(
    cls, builder: tfds.core.DatasetBuilder, split: str, settings: DataSettings, seed: int
  ) -> 'SplitVisits':
    """The visits of a training with these settings."""
    return cls(builder, split, settings.relations, settings.max_objects, settings.max_triples, seed)

  @property
  def vocabulary(self) -> Vocabulary:
    return input_pipeline.stored_vocabulary(self.builder)

  def __str__(self) -> str:
    return (
      f'{self.builder.data_dir}, split {self.split}, relations {self.relations}, seed {self.seed}'
    )

  def scenes(self, num_scenes: int | None = None) -> Iterator[PreparedScene]:
    """The first `num_scenes` scenes, or all, as in `input_pipeline.evaluation_batches`."""
    # Subsampling changes no scene that fits the slots.
    settings = VisitSettings.from_values(
      {
        'relations': self.relations,
        'max_objects': self.max_objects,
        'max_triples': self.max_triples,
        'max_attributes': _MAX_ATTRIBUTES,
        'subsample': True,
      },
      'data',
    )
    vocabulary = self.vocabulary
    batches = input_pipeline.evaluation_batches(
      self.builder,
      settings,
      vocabulary,
      split=self.split,
      batch_size=_BATCH_SIZE,
      seed=self.seed,
      num_examples=num_scenes,
    )
    rows = (
      {name: values[row] for name, values in batch.items()}
      for batch in batches
      for row in range(_BATCH_SIZE)
    )
    # There are fewer ids than rows, as the last batch is filled up with rows of zeros.
    for image_id, row in zip(
      itertools.islice(image_ids(self.builder, self.split), num_scenes), rows, strict=False
    ):
      yield _scene(image_id, row, vocabulary)


def image_ids(builder: tfds.core.DatasetBuilder, split: str) -> Iterator[str]:
  """The ids of a split's images in the order of the files, as in `evaluation_batches`."""
  feature = {'image_id': tf.io.FixedLenFeature([], tf.string)}
  ids = tf.data.TFRecordDataset(input_pipeline.split_files(builder, split)).map(
    lambda record: tf.io.parse_single_example(record, feature)['image_id']
  )
  return (bytes(image_id).decode() for image_id in ids.as_numpy_iterator())


def _scene(image_id: str, row: dict[str, np.ndarray], vocabulary: Vocabulary) -> PreparedScene:
  is_object = row['object_mask'].copy()
  is_object[0] = False  # __image__
  relationships = [
    (int(subject) - 1, vocabulary.predicate_names[predicate], int(object_) - 1)
    for subject, predicate, object_ in row['triples'][row['triple_mask']]
    if vocabulary.predicate_names[predicate] != IN_IMAGE_PREDICATE
  ]
  scene, attributes = (), ()
  if 'attributes' in row:
    scene, *attributes = (
      tuple(vocabulary.attribute_names[slot - 1] for slot in slots if slot)
      for slots in row['attributes'][: 1 + is_object.sum()]
    )
  graph = SceneGraph(
    tuple(vocabulary.object_names[index] for index in row['object_class'][is_object]),
    tuple(relationships),
    tuple(attributes) if any(attributes) else (),
    scene,
  )
  masks = row['masks'][is_object] if 'masks' in row else None
  return PreparedScene(image_id, row['image'], graph, row['boxes'][is_object], masks)
