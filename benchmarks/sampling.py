"""Speed of sampling pictures of scene graphs, alone and in comparison with PyTorch.

  python -m benchmarks.sampling --config=configs/coco64.py --batch_sizes=1,32
  python -m benchmarks.sampling --config=configs/coco64.py --peer --dtypes=float32,bfloat16

A step computes noise, boxes, masks and pictures of a batch of graphs, with predicted boxes and
masks and the running statistics of BatchNorm, to 8-bit pixels: what `python -m sg2im_jax.sample`
does, without the writing of files. With --peer, the same network in plain PyTorch
(benchmarks/torch_peer.py) is measured in turns with it, each in a process of its own, and the ratio
of the medians is printed.
"""

from ml_collections import ConfigDict

from benchmarks import comparison
from benchmarks.comparison import ComparisonOptions
from sg2im_jax.runtime import command_line
from sg2im_jax.settings import Settings


def measure(options: ComparisonOptions, config: ConfigDict):
  comparison.compare(comparison.SAMPLING, Settings.from_config(config), options)


def main():
  command_line.run_with_config(ComparisonOptions, measure, doc=f'{__doc__}{comparison.COLUMNS}')


if __name__ == '__main__':
  main()
