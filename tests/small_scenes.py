"""Random padded batches and a tiny model of them, for tests of the networks and of the step."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from data_pipelines.configs import coco64, coco64_tokens
from data_pipelines.scene_graphs.vocabulary import COCO_PREDICATES, Vocabulary
from sg2im_jax.scene_batch import SceneBatch
from sg2im_jax.settings import Settings

VOCABULARY = Vocabulary(
  ('__image__', 'sheep', 'grass', 'sky', 'tree'), COCO_PREDICATES, ('red', 'blue', 'night')
)


def tiny_config() -> ConfigDict:
  """All parts of the model, at 16x16."""
  config = coco64.get_config()
  config.data.image_size = (16, 16)
  config.data.mask_size = config.model.mask_size = 4
  config.model.embedding_dim = 6
  config.model.gconv_dim = 8
  config.model.gconv_hidden_dim = 10
  config.model.gconv_num_layers = 2
  config.model.layout_noise_dim = 2
  config.model.refinement_dims = (8, 6)
  config.image_discriminator.arch = 'C4-4-2,C3-6'
  config.object_discriminator.arch = 'C3-4-2,C3-6'
  config.object_discriminator.crop_size = 8
  config.losses.predicate_weight = 0.1
  return config


def tiny_settings(values: Mapping[str, Any] | None = None) -> Settings:
  """The settings of tiny_config, with other values by dotted name."""
  config = tiny_config()
  config.update_from_flattened_dict(values or {})
  return Settings.from_config(config)


def tiny_token_config() -> ConfigDict:
  """All parts of the token model, at 16x16."""
  config = coco64_tokens.with_tokens(tiny_config())
  config.update_from_flattened_dict(
    {
      'data.mask_size': 8,
      'model.mask_size': 8,
      'model.gconv_num_layers': 1,
      'model.layout_noise_dim': 2,
      'losses.feature_matching_weight': 0.5,
      'losses.predicate_weight': 0.0,
      'tokens.latent_dim': 3,
      'tokens.encoder_dims': (4, 6),
      'tokens.crop_size': 8,
      'tokens.sprite_dims': (8, 6),
      'tokens.num_colours': 3,
      'tokens.texture_dim': 2,
      'tokens.vector_dim': 8,
      'tokens.discriminator_dims': (4, 6),
      'tokens.prior.features': 16,
      'tokens.prior.num_blocks': 1,
      'tokens.prior.sampling_steps': 3,
    }
  )
  return config


def tiny_token_settings(values: Mapping[str, Any] | None = None) -> Settings:
  """The settings of tiny_token_config, with other values by dotted name."""
  config = tiny_token_config()
  config.update_from_flattened_dict(values or {})
  return Settings.from_config(config)


def random_batch(
  seed: int = 0,
  batch_size: int = 4,
  object_slots: int = 6,
  triple_slots: int = 9,
  mask_size: int = 4,
) -> SceneBatch:
  """Scenes of 2 to 5 objects; how many slots hold padding changes nothing else."""
  rng = np.random.default_rng(seed)
  num_objects = rng.integers(2, 6, batch_size)
  corners = np.sort(rng.random((batch_size, 6, 2, 2), np.float32), axis=2)
  corners[..., 1, :] += 0.1
  boxes = corners.reshape(batch_size, 6, 4)
  boxes[:, 0] = 0, 0, 1, 1
  masks = rng.integers(0, 2, (batch_size, 6, mask_size, mask_size), np.uint8)
  masks[:, 0] = 1
  classes = rng.integers(1, VOCABULARY.num_objects, (batch_size, 6)).astype(np.int32)
  classes[:, 0] = 0
  image = rng.integers(0, 256, (batch_size, 16, 16, 3), np.uint8)
  triples = np.zeros((batch_size, triple_slots, 3), np.int32)
  triple_mask = np.zeros((batch_size, triple_slots), bool)
  for row, count in enumerate(num_objects):
    relations = [
      (i, rng.integers(1, VOCABULARY.num_predicates), rng.integers(1, count))
      for i in range(1, count)
    ]
    relations += [(i, 0, 0) for i in range(1, count)]
    triples[row, : len(relations)] = relations
    triple_mask[row, : len(relations)] = True
  object_mask = np.arange(object_slots) < num_objects[:, None]

  def slots(values: np.ndarray) -> np.ndarray:
    padded = np.zeros((batch_size, object_slots, *values.shape[2:]), values.dtype)
    padded[:, :6] = values
    padded[~object_mask] = 0
    return padded

  return SceneBatch(
    object_class=slots(classes),
    object_mask=object_mask,
    triples=triples,
    triple_mask=triple_mask,
    attributes=slots(np.random.default_rng(seed).integers(0, 4, (batch_size, 6, 2), np.int32)),
    boxes=slots(boxes),
    masks=slots(masks),
    image=image,
  )


def with_rubbish_in_padding(batch: SceneBatch) -> SceneBatch:
  """The batch with 1e6 (or the largest number that fits) in every padded slot."""

  def spoil(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    values = np.array(values)
    values[~mask] = min(10**6, np.iinfo(values.dtype).max if values.dtype.kind in 'iu' else 10**6)
    return values

  return batch.replace(
    object_class=spoil(batch.object_class, batch.object_mask),
    attributes=spoil(batch.attributes, batch.object_mask),
    boxes=spoil(batch.boxes, batch.object_mask),
    masks=spoil(batch.masks, batch.object_mask),
    triples=spoil(batch.triples, batch.triple_mask),
  )


def random_noise(batch: SceneBatch, channels: int) -> jax.Array:
  """float32[B, H, W, channels] of N(0, 1)."""
  return jax.random.normal(jax.random.key(1), (*batch.image.shape[:3], channels))


def largest_difference(tree, other) -> float:
  """The largest difference between arrays of two trees, relative to the larger of 1 and the array's
  largest entry.
  """
  differences = jax.tree.map(
    lambda a, b: jnp.abs(a - b).max(initial=0) / jnp.maximum(1, jnp.abs(b).max(initial=0)),
    tree,
    other,
  )
  return float(max(jax.tree.leaves(differences)))
