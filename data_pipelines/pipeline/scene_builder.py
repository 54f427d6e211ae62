"""The builder that every data set's builder derives from: scenes become examples, examples records.

A builder says which scenes its splits have and names a function that makes one of them into an
`Example`. Here the function is mapped over all scenes, by threads or elsewhere, what is left out is
named and counted, and the metadata are made. So records and metadata do not depend on who mapped.
"""

import abc
import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from absl import logging

from data_pipelines.pipeline.annotation_files import Faults, Id
from data_pipelines.pipeline.parallel import OrderedMap, ordered_map
from data_pipelines.pipeline.records import metadata_of
from data_pipelines.pipeline.tensorflow_quietly import tf
from data_pipelines.scene_graphs.errors import UserError


@dataclasses.dataclass(frozen=True)
class Example:
  """The record of one scene, or the reason why it has none.

  Attributes:
    key: unique in its split; tensorflow-datasets orders the records by its hash.
    name: of the scene in messages.
    record: see `records.record_features`; None if there is none.
    reason: why.
    faults: kind and name of all that is left out of the record.
  """

  key: Id
  name: str
  record: dict[str, Any] | None
  reason: str = ''
  faults: tuple[tuple[str, str], ...] = ()

  def counted_as(self) -> Iterator[str]:
    """What it adds one to, among the counters of a run on many machines."""
    yield 'skipped images' if self.record is None else 'records'
    for kind, _ in self.faults:
      yield kind


@dataclasses.dataclass(frozen=True)
class Split:
  """The scenes of a split.

  Attributes:
    scenes: at least one; the annotations alone, no pixels, and picklable.
    make_example: makes the example of one of them, on any thread or machine; picklable.
  """

  scenes: Sequence[Any]
  make_example: Callable[[Any], Example]


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a builder is going to write.

  Attributes:
    source: where the scenes come from, for messages.
    splits: by name; tensorflow-datasets knows no empty one.
    metadata: `vocabulary` and what else the data set stores beside its records.
    num_skipped: how many images have been left out while the annotations were read.
    faults: what else has been left out by then, counted by kind.
  """

  source: str
  splits: Mapping[str, Split]
  metadata: Mapping[str, Any]
  num_skipped: int = 0
  faults: Mapping[str, int] = dataclasses.field(default_factory=dict)


class SceneBuilder(tfds.core.GeneratorBasedBuilder):
  """A builder of prepared scenes.

  Attributes:
    ordered_map: who works on many items; threads, unless `prepare_records` is told others.
  """

  ordered_map: OrderedMap = staticmethod(ordered_map)

  @abc.abstractmethod
  def plan(self) -> Plan:
    """Reads the annotations.

    Raises:
      UserError: they are damaged, or no scene is left.
    """

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
    del dl_manager  # the files are the user's own
    plan = self.plan()
    metadata_of(self).update(
      plan.metadata,
      max_objects=0,
      max_relations=0,
      num_skipped_images=plan.num_skipped,
      faults=dict(plan.faults),
    )
    # One map over all splits: on many machines, each map is a job.
    make = functools.partial(
      _make_example, {name: split.make_example for name, split in plan.splits.items()}
    )
    examples = self.ordered_map(
      make, ((name, scene) for name, split in plan.splits.items() for scene in split.scenes)
    )
    return {
      name: self._generate_examples(
        plan.source, name, itertools.islice(examples, len(split.scenes))
      )
      for name, split in plan.splits.items()
    }

  def _generate_examples(
    self, source: str, split: str, examples: Iterator[Example]
  ) -> Iterator[tuple[Id, dict]]:
    metadata = metadata_of(self)
    num_examples = num_skipped = 0
    faults = Faults()
    for example in examples:
      num_examples += 1
      for kind, name in example.faults:
        faults.add(kind, name)
      if example.record is None:
        logging.warning('Skipped %s: %s.', example.name, example.reason)
        num_skipped += 1
        continue
      for key, feature in (('max_objects', 'object_class'), ('max_relations', 'relations')):
        metadata[key] = max(metadata[key], len(example.record[feature]))
      yield example.key, example.record
    faults.report(f'split {split}')
    metadata['faults'] = dict(faults.counts + collections.Counter(metadata['faults']))
    if num_skipped == num_examples:
      raise UserError(
        f'{source}: none of the {num_skipped} images of split {split!r} could be used; the lines '
        'above say why'
      )
    if num_skipped:
      logging.warning(
        '%s: skipped %d of %d images of split %r, which are named above.',
        source,
        num_skipped,
        num_examples,
        split,
      )
      metadata['num_skipped_images'] += num_skipped


def _make_example(makers: Mapping[str, Callable[[Any], Example]], item: tuple[str, Any]) -> Example:
  """The example of a split's scene, its image encoded, as that takes longer than all the rest."""
  split, scene = item
  example = makers[split](scene)
  if example.record is None:
    return example
  png = tf.io.encode_png(example.record['image']).numpy()
  return dataclasses.replace(example, record=example.record | {'image': png})
