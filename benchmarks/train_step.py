"""Speed of a training step, alone and in comparison with PyTorch.

  python -m benchmarks.train_step --config=configs/coco64.py
  python -m benchmarks.train_step --config=configs/coco64.py --peer --dtypes=float32,bfloat16 \\
      --batch_sizes=32,128

The step is that of the training loop, and so is the copying of batches to the devices. With --peer,
the same network and step in plain PyTorch (benchmarks/torch_peer.py) is measured in turns with it,
each in a process of its own, and the ratio of the medians is printed. Settings are overridden as in
training, such as --config.steps_per_dispatch=10.
"""

from ml_collections import ConfigDict

from benchmarks import comparison
from benchmarks.comparison import ComparisonOptions
from sg2im_jax.runtime import command_line
from sg2im_jax.settings import Settings


def measure(options: ComparisonOptions, config: ConfigDict):
  comparison.compare(comparison.TRAINING, Settings.from_config(config), options)


def main():
  command_line.run_with_config(ComparisonOptions, measure, doc=f'{__doc__}{comparison.COLUMNS}')


if __name__ == '__main__':
  main()
