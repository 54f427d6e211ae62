"""Visual Genome 1.4 as a tensorflow-datasets builder: records at training size."""

import dataclasses
import functools
import itertools

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines.pipeline import images
from data_pipelines.pipeline.annotation_files import Faults
from data_pipelines.pipeline.records import metadata_of, other_annotations, record_features
from data_pipelines.pipeline.scene_builder import Example, Plan, SceneBuilder, Split
from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.settings.data_settings import DataSettings
from data_pipelines.visual_genome import annotations as visual_genome_annotations
from data_pipelines.visual_genome.options import VisualGenomeOptions

# With the archives that hold them.
IMAGE_FOLDERS = {'VG_100K': 'images.zip', 'VG_100K_2': 'images2.zip'}


@dataclasses.dataclass(eq=False, kw_only=True)
class VisualGenomeConfig(tfds.core.BuilderConfig):
  """What the records depend on; `name` spells it out, so other values make another data set."""

  source_dir: str
  image_size: tuple[int, int]  # H, W
  options: VisualGenomeOptions


class VisualGenome(SceneBuilder):
  """Images of Visual Genome with boxes, relations and attributes; there are no masks."""

  VERSION = tfds.core.Version('1.0.0')
  builder_config: VisualGenomeConfig  # pyright: ignore[reportIncompatibleMethodOverride]

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=__doc__,
      features=record_features(self.builder_config.image_size, mask_size=None),
      homepage='https://visualgenome.org',
      metadata=tfds.core.MetadataDict(),
    )

  def plan(self) -> Plan:
    config = self.builder_config
    source = Source(config.source_dir)
    annotations = visual_genome_annotations.read(source, config.options)
    splits = {split: list(annotations.scenes(split)) for split in visual_genome_annotations.SPLITS}
    for split in ('train', 'val'):
      if not splits[split]:
        raise SettingsError(
          Fault(
            'data.options',
            f'is too strict: no image of split {split!r} passes the filter'
            f'{", after the faults named above" if annotations.faults else ""}; loosen '
            f'{config.options.model_dump()}',
          ),
          config.source_dir,
        )
    box_faults = Faults()
    for scene in itertools.chain.from_iterable(splits.values()):
      _count_boxes_out_of_frame(scene, box_faults)
    box_faults.report(config.source_dir)
    make_example = functools.partial(_make_example, source, config.image_size)
    return Plan(
      str(source.directory),
      {split: Split(scenes, make_example) for split, scenes in splits.items() if scenes},
      {
        'vocabulary': annotations.vocabulary.to_dict(),
        'attribute_names': list(annotations.attribute_names),
        'annotation_bytes': _annotation_bytes(source),
      },
      faults=annotations.faults + box_faults.counts,
    )


def _make_example(
  source: Source, image_size: tuple[int, int], scene: visual_genome_annotations.ImageAnnotation
) -> Example:
  name = str(source.directory / scene.path)
  try:
    with source.open(scene.path) as file:
      pixels = images.read_image(file, image_size, (scene.width, scene.height))
  except FileNotFoundError:
    return Example(scene.image_id, name, None, 'missing')
  except images.UNUSABLE as error:
    return Example(scene.image_id, name, None, f'cannot be used ({error})')
  return Example(scene.image_id, name, {'image': pixels, **encode_scene(scene)})


def _count_boxes_out_of_frame(scene: visual_genome_annotations.ImageAnnotation, faults: Faults):
  """Such boxes stay, as in the published data; `encode_scene` clips them."""
  for object_ in scene.objects:
    left, top, width, height = object_.box
    if left >= scene.width or top >= scene.height or left + width <= 0 or top + height <= 0:
      kind = 'boxes out of the frame, kept without area'
    elif left < 0 or top < 0 or left + width > scene.width or top + height > scene.height:
      kind = 'boxes that leave the frame, clipped to it'
    else:
      continue
    faults.add(kind, f'object {object_.object_id} of image {scene.image_id}')


def encode_scene(scene: visual_genome_annotations.ImageAnnotation) -> dict:
  """All features of a record but the image; see `records.record_features`."""
  boxes = np.array([object_.box for object_ in scene.objects], np.float64).reshape(-1, 2, 2)
  boxes[:, 1] += boxes[:, 0]  # from left, top, width, height to x0, y0, x1, y1
  # The published loader leaves the parts of boxes outside of the image; records hold boxes in [0,
  # 1].
  boxes = (boxes / [scene.width, scene.height]).clip(0, 1).reshape(-1, 4)
  relations = [
    (relation.subject, relation.predicate_id, relation.object) for relation in scene.relations
  ]
  attributes = [
    (index, attribute_id)
    for index, object_ in enumerate(scene.objects)
    for attribute_id in object_.attribute_ids
  ]
  return {
    'image_id': str(scene.image_id),
    'object_class': np.array([object_.class_id for object_ in scene.objects], np.int32),
    'boxes': boxes.astype(np.float32),
    'relations': np.array(relations, np.int32).reshape(-1, 3),
    'attributes': np.array(attributes, np.int32).reshape(-1, 2),
  }


def make_builder(settings: DataSettings) -> VisualGenome:
  """The builder for settings such as those of `configs/vg64.py`, prepared or not.

  Raises:
    SettingsError: there are neither prepared records nor Visual Genome's files, or the records were
      made from other files.
  """
  options = settings.options
  assert isinstance(options, VisualGenomeOptions)
  height, width = settings.image_size
  name = (
    f'{height}x{width}-image{options.min_image_size}-classes{options.min_object_instances}'
    f'-attributes{options.min_attribute_instances}-size{options.min_object_size}'
    f'-predicates{options.min_predicate_instances}'
    f'-objects{options.min_objects}to{options.max_objects}'
    f'-relations{options.min_relations}to{options.max_relations}'
  )
  config = VisualGenomeConfig(
    name=name, source_dir=settings.source_dir, image_size=settings.image_size, options=options
  )
  builder = VisualGenome(data_dir=settings.data_dir, config=config)
  source = Source(config.source_dir)
  missing = _missing(source, with_images=not builder.is_prepared())
  if not builder.is_prepared():
    if missing:
      raise SettingsError(
        Fault(
          'data.source_dir',
          f'is {config.source_dir}, which lacks {", ".join(missing)}; expected Visual Genome 1.4, '
          'unpacked or not: get its files from visualgenome.org and the split file from the '
          'published code (github.com/google/sg2im, sg2im/data/vg_splits.json), or choose another '
          'directory',
        )
      )
  elif not missing and metadata_of(builder)['annotation_bytes'] != _annotation_bytes(source):
    raise other_annotations(builder, source)
  return builder


def _missing(source: Source, with_images: bool) -> list[str]:
  """The names of the files that are missing."""
  annotations, aliases = visual_genome_annotations.ANNOTATIONS, visual_genome_annotations.ALIASES
  missing = [f'{file} ({file}.zip)' for file in source.missing(annotations)] + source.missing(
    aliases
  )
  if source.find(*visual_genome_annotations.SPLIT_FILES) is None:
    missing.append(' or '.join(visual_genome_annotations.SPLIT_FILES))
  if with_images:
    missing += [
      f'{folder}/ ({archive})'
      for folder, archive in IMAGE_FOLDERS.items()
      if not source.names(folder)
    ]
  return missing


def _annotation_bytes(source: Source) -> dict[str, int]:
  """Sizes of the annotation files by name: enough to tell one edition of them from another."""
  files = (
    *visual_genome_annotations.ANNOTATIONS,
    *visual_genome_annotations.ALIASES,
    visual_genome_annotations.split_file(source),
  )
  return {file: source.size(file) for file in files}
