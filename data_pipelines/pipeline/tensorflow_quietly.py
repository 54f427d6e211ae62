"""TensorFlow without its start-up notices; all modules here import `tf` from this one.

TensorFlow's C++ part reads the environment when it is first imported, so the variables are set just
before. A value that the user has set stays.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
# Switches off a notice that the log level does not reach. No operation here uses oneDNN.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')

import tensorflow as tf

__all__ = ['tf']
