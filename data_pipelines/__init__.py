"""From annotation files to padded batches of scenes: NumPy and tf.data, never jax."""
