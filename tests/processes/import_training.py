"""Imports the training loop and prints what is loaded by then; tf.keras can be used afterwards."""

import os
import sys

from data_pipelines.pipeline.tensorflow_quietly import tf
from sg2im_jax.training import loop

if __name__ == '__main__':
  assert callable(loop.train)
  print(*{name.split('.')[0] for name in sys.modules})
  assert 'TF_USE_LEGACY_KERAS' not in os.environ
  assert tf.keras.__version__.startswith('3.')
