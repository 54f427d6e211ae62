"""Names, shapes and initial values of all parameters, on which checkpoints depend.

`parameters.json` holds, for each network of `configs()`, the shape of every parameter, its last
entry and its Euclidean norm, all after initialisation with `jax.random.key(0)`.
"""

import functools
import json
import pathlib

import jax
import numpy as np
import pytest

from sg2im_jax import models
from tests.small_scenes import VOCABULARY, random_batch, random_noise, tiny_config

RECORDED = json.loads(pathlib.Path(__file__).with_name('parameters.json').read_text())


def configs():
  """The tiny config, and one with the layers that it lacks."""
  other = tiny_config()
  other.model.gconv_num_layers = 0
  other.model.mask_size = 0
  other.model.mlp_normalization = 'batch'
  other.model.normalization = 'instance'
  other.model.layout_noise_dim = 0
  other.model.initial_box = 0.5
  other.image_discriminator.update(arch='C3-4-2,R,C3-6', padding='same', classifier=True)
  other.object_discriminator.update(arch='C3-4-2,P2,FC-16-5,FC-5-3', padding='same')
  return {'tiny': tiny_config(), 'other': other}


def initial_variables(config):
  """The variables of the three networks by name, of a batch of random scenes."""
  batch = random_batch()
  image = random_noise(batch, 3)
  noise = random_noise(batch, config.model.layout_noise_dim)

  def initialise(module, *arguments, **modes):
    return jax.jit(functools.partial(module.init, train=True, **modes))(
      jax.random.key(0), *arguments
    )

  return {
    'generator': initialise(
      models.build_generator(config, VOCABULARY),
      batch,
      noise,
      use_boxes=True,
      use_masks=config.model.mask_size > 0,
    ),
    'image_discriminator': initialise(
      models.build_image_discriminator(config), image, batch.example_mask
    ),
    'object_discriminator': initialise(
      models.build_object_discriminator(config, VOCABULARY),
      image,
      batch.boxes,
      batch.object_mask,
    ),
  }


def summary(variables):
  """[shape, last entry, norm] of every array by its path."""
  return {
    '/'.join(key.key for key in path): [
      list(array.shape),
      float(array.reshape(-1)[-1]),
      float(np.linalg.norm(array)),
    ]
    for path, array in jax.tree.leaves_with_path(variables)
  }


@pytest.mark.parametrize('name', RECORDED)
def test_parameters_are_as_recorded(name):
  found, expected = summary(initial_variables(configs()[name])), RECORDED[name]
  assert {path: shape for path, (shape, *_) in found.items()} == {
    path: shape for path, (shape, *_) in expected.items()
  }
  for path, (_, *values) in expected.items():
    np.testing.assert_allclose(found[path][1:], values, rtol=1e-5, err_msg=path)
