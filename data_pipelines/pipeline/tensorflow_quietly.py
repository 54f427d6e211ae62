"""TensorFlow without its start-up notices and without Keras; all modules here import `tf` from this
one.

TensorFlow's C++ part reads the environment when it is first imported, so the variables are set just
before. A value that the user has set stays.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
# Switches off a notice that the log level does not reach. No operation here uses oneDNN.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')

# At its end TensorFlow imports the Keras that this variable chooses, and with Keras 3 SciPy,
# scikit-learn and Matplotlib, which takes almost as long as all the rest. Without the variable
# `tf.keras` is Keras 3 again, imported when it is first used.
_legacy_keras = os.environ.get('TF_USE_LEGACY_KERAS')
os.environ['TF_USE_LEGACY_KERAS'] = '1'

import tensorflow as tf

if _legacy_keras is None:
  del os.environ['TF_USE_LEGACY_KERAS']
else:
  os.environ['TF_USE_LEGACY_KERAS'] = _legacy_keras

__all__ = ['tf']
