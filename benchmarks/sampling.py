"""How fast pictures of scene graphs are drawn, and how that compares with PyTorch.

  python -m benchmarks.sampling --config=configs/coco64.py --batch_sizes=1,32
  python -m benchmarks.sampling --config=configs/coco64.py --peer --dtypes=float32,bfloat16

A step draws noise, boxes, masks and pictures of a batch of graphs, with predicted boxes and masks
and the running statistics of BatchNorm, and ends where the pixels are ready for the host: as
`python -m sg2im_jax.sample` does, without the writing of files. With --peer, the same network in
plain PyTorch (benchmarks/torch_peer.py) takes turns with it, each in a process of its own, and the
ratio of the medians is printed.
"""

from collections.abc import Sequence

from absl import flags

from benchmarks import comparison
from sg2im_jax.runtime import command_line, config_flag

__doc__ += comparison.COLUMNS


def main(_: Sequence[str]):
  comparison.compare(comparison.SAMPLING, flags.FLAGS.config)


if __name__ == '__main__':
  config_flag.define()
  comparison.define_flags()
  flags.adopt_module_key_flags(comparison)
  command_line.run(main)
