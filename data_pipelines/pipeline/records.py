"""One record of a prepared data set; every builder writes these features."""

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines.pipeline.source import Source
from data_pipelines.scene_graphs.errors import Fault, SettingsError


def record_features(
  image_size: tuple[int, int], mask_size: int | None
) -> tfds.features.FeaturesDict:
  """Everything the training loop needs of a scene with N objects (without `__image__`) and R stored
  relations.

  Args:
    image_size: H, W.
    mask_size: M; None for a data set without masks.

  Returns:
    image: uint8[H, W, 3], stored as PNG.
    image_id: text.
    object_class: int32[N].
    boxes: float32[N, 4] x0, y0, x1, y1 in [0, 1].
    masks: uint8[N, M, M], 0 or 1, each in the frame of its box; absent where there are none.
    relations: int32[R, 3] subject index, predicate id, object index, with indices 0..N-1.
    attributes: int32[A, 2] object index, or -1 for the whole image; attribute id (of the list
      `attribute_names` in the metadata).
  """
  features = {
    'image': tfds.features.Image(shape=(*image_size, 3), encoding_format='png'),
    'image_id': tfds.features.Text(),
    'object_class': tfds.features.Tensor(shape=(None,), dtype=np.int32),
    'boxes': tfds.features.Tensor(shape=(None, 4), dtype=np.float32),
    'relations': tfds.features.Tensor(shape=(None, 3), dtype=np.int32),
    'attributes': tfds.features.Tensor(shape=(None, 2), dtype=np.int32),
  }
  if mask_size is not None:
    features['masks'] = tfds.features.Tensor(shape=(None, mask_size, mask_size), dtype=np.uint8)
  return tfds.features.FeaturesDict(features)


def features_of(builder: tfds.core.DatasetBuilder) -> tfds.features.FeaturesDict:
  """The features of the records, see `record_features`."""
  features = builder.info.features
  assert isinstance(features, tfds.features.FeaturesDict)
  return features


def metadata_of(builder: tfds.core.DatasetBuilder) -> tfds.core.MetadataDict:
  """What is stored beside the records: `vocabulary`, `max_objects`, `max_relations` and more."""
  metadata = builder.info.metadata
  assert isinstance(metadata, tfds.core.MetadataDict)
  return metadata


def other_annotations(builder: tfds.core.DatasetBuilder, source: Source) -> SettingsError:
  """The error for prepared records whose annotation files are not those of the source."""
  return SettingsError(
    Fault(
      'data.data_dir',
      f'has records in {builder.data_dir} that were prepared from other annotation files than '
      f'those in {source.directory}; choose another directory, or delete this one to prepare it '
      'again',
    )
  )
