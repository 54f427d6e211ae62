"""COCO-Stuff 2017 as a tensorflow-datasets builder: from COCO's own files to records at training size."""

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds
from absl import logging
from ml_collections import ConfigDict

from data_pipelines import coco_annotations, encode
from data_pipelines.record import record_features
from data_pipelines.scene_graph import UserError

TRAIN, VAL = 'train2017', 'val2017'  # COCO's names of its parts


@dataclasses.dataclass(eq=False, kw_only=True)
class CocoStuffConfig(tfds.core.BuilderConfig):
  """What the records depend on; `name` spells it out, so that other values make another prepared data set."""
  source_dir: str
  image_size: tuple[int, int]  # H, W
  mask_size: int  # M
  filters: coco_annotations.Filters
  num_val: int


class CocoStuff(tfds.core.GeneratorBasedBuilder):
  """Images of COCO 2017 with their things and stuff as objects."""

  VERSION = tfds.core.Version('2.0.0')
  RELEASE_NOTES = {'2.0.0': 'Records have attributes.'}
  builder_config: CocoStuffConfig

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
        builder=self,
        description=__doc__,
        features=record_features(self.builder_config.image_size, self.builder_config.mask_size),
        homepage='https://cocodataset.org',
        metadata=tfds.core.MetadataDict(),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
    del dl_manager  # the files are the user's own
    config = self.builder_config
    sources = source_files(config.source_dir)
    parts = {part: coco_annotations.read(source['instances'], source['stuff'], config.filters)
             for part, source in sources.items()}
    for part, source in sources.items():
      if not parts[part].images:
        raise UserError(f'{source["stuff"]}: no image passes the filter; loosen --config.data.options, which are '
                        f'{dataclasses.asdict(config.filters)}')
    self.info.metadata.update(
        vocabulary=parts[TRAIN].vocabulary.to_dict(), max_objects=0, max_relations=0, num_skipped_images=0,
        annotation_bytes=annotation_bytes(sources))
    val_images = parts[VAL].images
    splits = {
        'train': (parts[TRAIN].images, sources[TRAIN]['images']),
        'val': (val_images[:config.num_val], sources[VAL]['images']),
        'test': (val_images[config.num_val:], sources[VAL]['images']),
    }
    # tensorflow-datasets knows no empty split, so a small val2017 has no `test`.
    return {name: self._generate_examples(*split) for name, split in splits.items() if split[0]}

  def _generate_examples(self, images: list[coco_annotations.AnnotatedImage],
                         image_dir: pathlib.Path) -> Iterator[tuple[int, dict]]:
    config, metadata = self.builder_config, self.info.metadata
    num_skipped = 0
    for image in images:
      path = image_dir / image.file_name
      try:
        pixels = read_image(path, config.image_size)
      except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for files that are no whole image
        reason = 'missing' if isinstance(error, FileNotFoundError) else f'cannot be decoded ({error})'
        logging.warning('Skipped %s: %s.', path, reason)
        num_skipped += 1
        continue
      boxes = np.stack([image.box(object_) for object_ in image.objects])
      masks = [encode.crop_mask(image.mask(object_), box, config.mask_size)
               for object_, box in zip(image.objects, boxes, strict=True)]
      metadata['max_objects'] = max(metadata['max_objects'], len(image.objects))
      yield image.image_id, {
          'image': pixels,
          'image_id': str(image.image_id),
          'object_class': np.array([object_.category_id for object_ in image.objects], np.int32),
          'boxes': boxes,
          'masks': np.stack(masks),
          'relations': np.zeros((0, 3), np.int32),
          'attributes': np.zeros((0, 2), np.int32),
      }
    if num_skipped == len(images):
      raise UserError(f'{image_dir}: none of the {len(images)} images that pass the filter could be read; '
                      f'expected files such as {images[0].file_name}')
    if num_skipped:
      logging.warning('%s: skipped %d of %d images, which are named above.', image_dir, num_skipped, len(images))
    metadata['num_skipped_images'] += num_skipped


def make_builder(data_config: ConfigDict) -> CocoStuff:
  """The builder for a config such as `configs/coco64.py`, prepared or not.

  Raises:
    UserError: there are neither prepared records nor COCO's files, or the records were made from other files.
  """
  options = data_config.options
  filters = coco_annotations.Filters(
      min_object_area=options.min_object_area, min_objects=options.min_objects, max_objects=options.max_objects,
      include_other=options.include_other)
  height, width = data_config.image_size
  name = (f'{height}x{width}-m{data_config.mask_size}-area{options.min_object_area:g}'
          f'-objects{options.min_objects}to{options.max_objects}-val{options.num_val}')
  config = CocoStuffConfig(
      name=name + ('-other' if options.include_other else ''), source_dir=data_config.source_dir,
      image_size=(height, width), mask_size=data_config.mask_size, filters=filters, num_val=options.num_val)
  builder = CocoStuff(data_dir=data_config.data_dir, config=config)
  sources = source_files(config.source_dir)
  missing = [str(path) for source in sources.values() for path in source.values() if not path.exists()]
  if not builder.is_prepared():
    if missing:
      raise UserError(f'missing: {", ".join(missing)}; expected COCO 2017 with its stuff annotations: unzip '
                      'train2017.zip, val2017.zip, annotations_trainval2017.zip and stuff_annotations_trainval2017.zip '
                      f'of cocodataset.org in {config.source_dir}, or set --config.data.source_dir')
  elif not missing and builder.info.metadata['annotation_bytes'] != annotation_bytes(sources):
    raise UserError(f'{builder.data_dir}: prepared from other annotation files than those in {config.source_dir}; '
                    'set --config.data.data_dir to another directory, or delete this one to prepare it again')
  return builder


def source_files(source_dir: str) -> dict[str, dict[str, pathlib.Path]]:
  """Where the annotations and the images of each part of COCO lie; COCO's zips leave out the directory images/."""
  root = pathlib.Path(source_dir)
  return {part: {
      'instances': root / 'annotations' / f'instances_{part}.json',
      'stuff': root / 'annotations' / f'stuff_{part}.json',
      'images': root / part if (root / part).is_dir() else root / 'images' / part,
  } for part in (TRAIN, VAL)}


def annotation_bytes(sources: dict[str, dict[str, pathlib.Path]]) -> dict[str, int]:
  """Sizes of the annotation files by name: enough to tell one edition of them from another."""
  return {path.name: path.stat().st_size
          for source in sources.values() for path in (source['instances'], source['stuff'])}


def read_image(path: pathlib.Path, image_size: tuple[int, int]) -> np.ndarray:
  """uint8[H, W, 3]: the image resized bilinearly (with anti-aliasing), ignoring its aspect."""
  height, width = image_size
  with PIL.Image.open(path) as image:
    return np.asarray(image.convert('RGB').resize((width, height), PIL.Image.Resampling.BILINEAR))
