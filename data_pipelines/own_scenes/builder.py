"""A folder of a user's own scenes as a tensorflow-datasets builder; see `scenes_file`."""

import collections
import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from data_pipelines.own_scenes import scenes_file
from data_pipelines.own_scenes.options import OwnScenesOptions
from data_pipelines.own_scenes.scenes_file import ObjectDescription, Reading, SceneDescription
from data_pipelines.pipeline.images import UNUSABLE, read_image
from data_pipelines.pipeline.records import record_features
from data_pipelines.pipeline.scene_builder import Example, Plan, SceneBuilder, Split
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs import encoding
from data_pipelines.scene_graphs.errors import Fault, SettingsError, UserError
from data_pipelines.scene_graphs.graph import IMAGE_OBJECT
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, Vocabulary
from data_pipelines.settings.data_settings import DataSettings

_DIGEST_LENGTH = 12  # hexadecimal digits of the hash of scenes.jsonl in the configuration's name


@dataclasses.dataclass(frozen=True)
class Names:
  """The names that are kept.

  Attributes:
    vocabulary: the object names, most common first; `__in_image__`, the geometric predicates, then
      the other stored ones, most common first.
    attribute_ids: by name, most common first.
  """

  vocabulary: Vocabulary
  attribute_ids: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Selection:
  """The scenes that are kept, of kept names only, in the order of the lines, and these names."""

  scenes: list[SceneDescription]
  names: Names


def select(scenes: Iterable[SceneDescription], options: OwnScenesOptions) -> Selection:
  """Applies the options, repeatedly, until every remaining name is common enough.

  Dropping a scene can make a name rare, and dropping a name can make a scene too small.
  """
  kept = [
    _keep_objects(scene, [_is_large(object_, scene, options) for object_ in scene.objects])
    for scene in scenes
  ]
  before, object_names = None, {}
  while kept != before:
    before = kept
    object_names = _common_names(
      (object_.name for scene in before if scene.split == 'train' for object_ in scene.objects),
      options.min_object_instances,
    )
    restricted = (
      _keep_objects(scene, [object_.name in object_names for object_ in scene.objects])
      for scene in before
    )
    kept = [
      scene
      for scene in restricted
      if options.min_objects <= len(scene.objects) <= options.max_objects
    ]

  train = [scene for scene in kept if scene.split == 'train']
  stored_names = _common_names(
    (predicate for scene in train for _, predicate, _ in scene.relationships),
    options.min_predicate_instances,
  )
  attribute_ids = _common_names(
    (attribute for scene in train for object_ in scene.objects for attribute in object_.attributes),
    options.min_attribute_instances,
  )
  # Geometric predicates are always there, for random relations. A stored relation of the same name
  # has the same predicate.
  predicate_names = (
    *COCO_PREDICATES,
    *(name for name in stored_names if name not in COCO_PREDICATES),
  )
  known = set(predicate_names)
  kept = [
    dataclasses.replace(
      scene,
      relationships=tuple(
        relationship for relationship in scene.relationships if relationship[1] in known
      ),
    )
    for scene in kept
  ]
  return Selection(
    kept, Names(Vocabulary((IMAGE_OBJECT, *object_names), predicate_names), attribute_ids)
  )


def _is_large(
  object_: ObjectDescription, scene: SceneDescription, options: OwnScenesOptions
) -> bool:
  x0, y0, x1, y1 = object_.box
  return (x1 - x0) * (y1 - y0) / (scene.width * scene.height) > options.min_object_area


def _keep_objects(scene: SceneDescription, is_kept: Sequence[bool]) -> SceneDescription:
  """The scene without the other objects and their relationships."""
  indices = [index for index in range(len(scene.objects)) if is_kept[index]]
  places = {index: place for place, index in enumerate(indices)}
  return dataclasses.replace(
    scene,
    objects=tuple(scene.objects[index] for index in indices),
    relationships=tuple(
      (places[subject], predicate, places[other])
      for subject, predicate, other in scene.relationships
      if subject in places and other in places
    ),
  )


def _common_names(names: Iterable[str], min_instances: int) -> dict[str, int]:
  """Names that occur often enough, by rank: most common first, equally common ones by name."""
  counts = collections.Counter(names)
  common = sorted(
    (name for name in counts if counts[name] >= min_instances),
    key=lambda name: (-counts[name], name),
  )
  return {name: place for place, name in enumerate(common)}


@dataclasses.dataclass(eq=False, kw_only=True)
class ScenesConfig(tfds.core.BuilderConfig):
  """What the records depend on; `name` spells it out, so other values make another data set."""

  source_dir: str
  image_size: tuple[int, int]  # H, W
  mask_size: int | None  # M; None where no object has a mask
  options: OwnScenesOptions


class Scenes(SceneBuilder):
  """Images with named objects, relationships and attributes, from a folder with scenes.jsonl."""

  VERSION = tfds.core.Version('1.0.0')
  builder_config: ScenesConfig  # pyright: ignore[reportIncompatibleMethodOverride]

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=__doc__,
      features=record_features(self.builder_config.image_size, self.builder_config.mask_size),
      metadata=tfds.core.MetadataDict(),
    )

  def plan(self) -> Plan:
    config = self.builder_config
    source = Source(config.source_dir)
    path = source.directory / scenes_file.FILE_NAME
    reading = scenes_file.read(source, scenes_file.read_content(source), self.ordered_map)
    selection = select(reading.scenes, config.options)
    self._report(reading, selection)
    splits = {
      split: [scene for scene in selection.scenes if scene.split == split]
      for split in scenes_file.SPLITS
    }
    if not reading.scenes:
      raise UserError(
        f'{path}: no line is usable; expected lines like {scenes_file.EXAMPLE}; run python -m '
        f'data_pipelines.prepare --dataset=scenes --check --source={config.source_dir}'
      )
    for split in scenes_file.NEEDED_SPLITS:
      if split in reading.missing_splits():
        raise UserError(
          f'{path}: no usable line is of split "{split}", which training needs; '
          f'give some lines "split": "{split}"'
        )
      if not splits[split]:
        raise SettingsError(
          Fault(
            'data.options',
            f'is too strict: no scene of split "{split}" passes the filter; loosen '
            f'{config.options.model_dump()}',
          ),
          str(path),
        )
    make_example = functools.partial(_make_example, source, config, selection.names)
    return Plan(
      str(path),
      # There need not be a `test`.
      {split: Split(scenes, make_example) for split, scenes in splits.items() if scenes},
      {
        'vocabulary': selection.names.vocabulary.to_dict(),
        'attribute_names': list(selection.names.attribute_ids),
      },
      num_skipped=len(reading.faults),
    )

  def _report(self, reading: Reading, selection: Selection):
    """Logs every line of the file that is not used, then the counts."""
    for number, (first, *others) in reading.faults.items():
      more = f' (and {len(others)} more)' if others else ''
      logging.warning('Skipped %s:%d: %s%s', scenes_file.FILE_NAME, number, first, more)
    num_filtered = len(reading.scenes) - len(selection.scenes)
    counts = collections.Counter(scene.split for scene in selection.scenes)
    used = ', '.join(f'{counts[split]} {split}' for split in scenes_file.SPLITS)
    rare = {object_.name for scene in reading.scenes for object_ in scene.objects}
    rare -= set(selection.names.vocabulary.object_names)
    log = logging.warning if reading.faults or num_filtered or rare else logging.info
    log(
      '%s: %d lines: %d used (%s), %d with faults, %d filtered out; %d object names, %d more '
      'filtered out.',
      scenes_file.FILE_NAME,
      len(reading.scenes) + len(reading.faults),
      len(selection.scenes),
      used,
      len(reading.faults),
      num_filtered,
      selection.names.vocabulary.num_objects - 1,
      len(rare),
    )
    if reading.faults:
      logging.warning(
        'To use the others, mend them; where that leaves scenes.jsonl as it is, also delete the '
        'prepared '
        'directory %s.',
        self.info.full_name,
      )


def _make_example(
  source: Source, config: ScenesConfig, names: Names, scene: SceneDescription
) -> Example:
  try:
    return Example(scene.file, scene.file, _record(source, config, names, scene))
  except (*UNUSABLE, scenes_file.LineFault) as error:  # it was good when the lines were read
    return Example(scene.file, scene.file, None, f'cannot be used any more ({error})')


def _record(source: Source, config: ScenesConfig, names: Names, scene: SceneDescription) -> dict:
  vocabulary, where = names.vocabulary, scene.file
  with source.open(scene.file) as file:
    image = read_image(file, config.image_size)
  pixels = np.array([object_.box for object_ in scene.objects])
  boxes = (pixels / [scene.width, scene.height, scene.width, scene.height]).astype(np.float32)
  record = {
    'image': image,
    'image_id': scene.file,
    'object_class': np.array(
      [vocabulary.object_id(object_.name, where) for object_ in scene.objects], np.int32
    ),
    'boxes': boxes,
    'relations': np.array(
      [
        (subject, vocabulary.predicate_id(predicate, where), other)
        for subject, predicate, other in scene.relationships
      ],
      np.int32,
    ).reshape(-1, 3),
    'attributes': np.array(
      [
        (index, names.attribute_ids[attribute])
        for index, object_ in enumerate(scene.objects)
        for attribute in object_.attributes
        if attribute in names.attribute_ids
      ],
      np.int32,
    ).reshape(-1, 2),
  }
  if config.mask_size is not None:
    record['masks'] = np.stack(
      [
        _mask(source, scene, object_, box, config.mask_size)
        for object_, box in zip(scene.objects, boxes, strict=True)
      ]
    )
  return record


def _mask(
  source: Source,
  scene: SceneDescription,
  object_: ObjectDescription,
  box: np.ndarray,
  mask_size: int,
) -> np.ndarray:
  """uint8[M, M] in the frame of the box, all of it where the object has no mask."""
  if object_.mask is None:
    return np.ones((mask_size, mask_size), np.uint8)
  return encoding.crop_mask(
    scenes_file.read_mask(source, object_.mask, scene.width, scene.height), box, mask_size
  )


def make_builder(settings: DataSettings) -> Scenes:
  """The builder for settings such as those of `configs/scenes.py`, prepared or not.

  Raises:
    UserError: there is no scenes.jsonl, whose content decides which data set it is.
  """
  options = settings.options
  assert isinstance(options, OwnScenesOptions)
  content = scenes_file.read_content(Source(settings.source_dir))
  height, width = settings.image_size
  mask_size = settings.required_mask_size() if _has_masks(content) else None
  name = (
    f'{height}x{width}-{"nomasks" if mask_size is None else f"m{mask_size}"}'
    f'-area{options.min_object_area:g}-objects{options.min_objects}to{options.max_objects}'
    f'-instances{options.min_object_instances}-{options.min_predicate_instances}'
    f'-{options.min_attribute_instances}-{hashlib.sha256(content).hexdigest()[:_DIGEST_LENGTH]}'
  )
  config = ScenesConfig(
    name=name,
    source_dir=settings.source_dir,
    image_size=settings.image_size,
    mask_size=mask_size,
    options=options,
  )
  return Scenes(data_dir=settings.data_dir, config=config)


def _has_masks(content: bytes) -> bool:
  """Whether some object has a mask; JSON escapes the quotation marks of names, so none matches."""
  return re.search(rb'"mask"\s*:', content) is not None
