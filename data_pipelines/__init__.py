"""From annotation files to padded batches of scenes: NumPy, tf.data and tensorflow-datasets, never
jax.
"""
