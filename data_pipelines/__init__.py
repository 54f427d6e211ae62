"""From annotation files to padded batches of scenes: NumPy, tf.data and tensorflow-datasets, never
jax.
"""

import os

# TensorFlow's C++ part reads these when it is first imported, and all that imports it lies in this
# package. The second only ends a notice that the first does not reach: nothing here computes with
# oneDNN.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
