"""TensorFlow without its start-up notices and without Keras; all modules here import `tf` from this
one.

TensorFlow's C++ part reads the environment when it is first imported, so the variables are set just
before. A value that the user has set stays.
"""

import contextlib
import os
from collections.abc import Iterator

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
# Switches off a notice that the log level does not reach. No operation here uses oneDNN.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')

_KERAS = 'TF_USE_LEGACY_KERAS'


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
  """A context in which TensorFlow is imported without Keras.

  At its end TensorFlow imports the Keras that a variable chooses, and with Keras 3 SciPy,
  scikit-learn and Matplotlib, which takes almost as long as all the rest. Here the variable chooses
  Keras 2, which few have. Afterwards `tf.keras` is again what it would be, at its first use.
  """
  chosen = os.environ.get(_KERAS)
  os.environ[_KERAS] = '1'
  try:
    yield
  finally:
    del os.environ[_KERAS]
    if chosen is not None:
      os.environ[_KERAS] = chosen


with _without_keras():
  import tensorflow as tf

__all__ = ['tf']
