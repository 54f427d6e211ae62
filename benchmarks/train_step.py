"""How fast a training step is, and how it compares with PyTorch.

  python -m benchmarks.train_step --config=configs/coco64.py python -m benchmarks.train_step
  --config=configs/coco64.py --peer --dtypes=float32,bfloat16 --batch_sizes=32,128

The step is the one that training takes, with batches put on the devices one after another. With
--peer, the same network and step in plain PyTorch (benchmarks/torch_peer.py) takes turns with it,
each in a process of its own, and the ratio of the medians is printed. Settings are overridden as in
training, such as --config.steps_per_dispatch=10.
"""

from collections.abc import Sequence

from absl import flags

from benchmarks import comparison
from sg2im_jax.runtime import command_line, config_flag

__doc__ += comparison.COLUMNS


def main(_: Sequence[str]):
  comparison.compare(comparison.TRAINING, flags.FLAGS.config)


if __name__ == '__main__':
  config_flag.define()
  comparison.define_flags()
  flags.adopt_module_key_flags(comparison)
  command_line.run(main)
