"""Names, shapes and initial values of all parameters, on which checkpoints depend.

`parameters.json` holds the shape, the last entry and the Euclidean norm of every parameter of the
networks of each of `SETTINGS`, after initialisation with `jax.random.key(0)`.
"""

import functools
import json
import pathlib

import jax
import numpy as np
import pytest

from sg2im_jax import models
from tests.small_scenes import VOCABULARY, random_batch, random_noise, tiny_settings

RECORDED = json.loads(pathlib.Path(__file__).with_name('parameters.json').read_text())


SETTINGS = {
  'tiny': {},
  # the layers that the tiny model lacks
  'other': {
    'model.gconv_num_layers': 0,
    'model.mask_size': 0,
    'model.mlp_normalization': 'batch',
    'model.normalization': 'instance',
    'model.layout_noise_dim': 0,
    'model.initial_box': 0.5,
    'image_discriminator.arch': 'C3-4-2,R,C3-6',
    'image_discriminator.padding': 'same',
    'image_discriminator.classifier': True,
    'object_discriminator.arch': 'C3-4-2,P2,FC-16-5,FC-5-3',
    'object_discriminator.padding': 'same',
  },
}


def initial_variables(settings):
  """The variables of the three networks by name, of a batch of random scenes."""
  networks = models.build_networks(settings, VOCABULARY)
  batch = random_batch()
  noise = random_noise(batch, settings.model.layout_noise_dim)
  image = random_noise(batch, 3)

  def initialise(module, *arguments, **modes):
    return jax.jit(functools.partial(module.init, train=True, **modes))(
      jax.random.key(0), *arguments
    )

  return {
    'generator': initialise(networks.generator, batch, noise, use_boxes=True, use_masks=True),
    'image_discriminator': initialise(networks.image_discriminator, image, batch.example_mask),
    'object_discriminator': initialise(
      networks.object_discriminator, image, batch.boxes, batch.object_mask
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


@pytest.mark.parametrize('name', SETTINGS)
def test_parameters_are_as_recorded(name):
  expected = RECORDED[name]
  found = summary(initial_variables(tiny_settings(SETTINGS[name])))
  assert {path: shape for path, (shape, *_) in found.items()} == {
    path: shape for path, (shape, *_) in expected.items()
  }
  for path, (_, *values) in expected.items():
    np.testing.assert_allclose(found[path][1:], values, rtol=1e-5, err_msg=path)
