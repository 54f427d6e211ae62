"""Compares a converted model with its recording in float32, and prints the comparisons as JSON.

python -m tests.processes.compare_in_float32 CHECKPOINT RECORDING
"""

import dataclasses
import json
import sys

from sg2im_jax.published import checkpoint, conversion, verification
from sg2im_jax.runtime import compilation
from sg2im_jax.sampling.sampler import Sampler

if __name__ == '__main__':
  compilation.configure()
  path, vectors = sys.argv[1:]
  published = checkpoint.read(path)
  training, state = published.training, conversion.initial_state(published)
  recording = verification.Recording(vectors)
  sampler = Sampler(training.networks.generator, state.generator.variables)
  comparisons = [
    *verification.compare_outputs(recording, sampler),
    *verification.compare_step(recording, training, state, 'float32'),
  ]
  print(json.dumps([dataclasses.asdict(comparison) for comparison in comparisons]))
