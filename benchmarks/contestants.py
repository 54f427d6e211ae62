"""What is measured: training and sampling with this package, and their PyTorch counterparts."""

import dataclasses
import itertools
import time
from typing import Any

import jax
import numpy as np

from benchmarks.measure import ContestantFailed, ContestantProcess, Started, process_peak_memory
from benchmarks.scenes import VOCABULARY, random_batch
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.runtime import compilation, sharding
from sg2im_jax.sampling.sampler import SampledBatch, Sampler
from sg2im_jax.settings import Settings
from sg2im_jax.training import dispatch
from sg2im_jax.training.build import build_training

_NUM_BATCHES = 4  # of scenes, which are copied to the devices in turn


@dataclasses.dataclass
class _JaxContestant:
  """What training and sampling with this package have in common.

  Attributes:
    settings: sizes and all else.
    cache_dir: directory of the compilation cache; None for no cache.
    full: whether scenes fill all slots, see `random_batch`.
    num_devices: how many are used; None for all.
    forced_host_devices: number of devices that the CPU is split into; None for the default.
  """

  settings: Settings
  cache_dir: str | None = None
  full: bool = False
  num_devices: int | None = None
  forced_host_devices: int | None = None

  def _mesh(self) -> jax.sharding.Mesh:
    if self.cache_dir is None:
      compilation.choose_cpu_library()
    else:
      jax.config.update('jax_compilation_cache_dir', self.cache_dir)
      compilation.configure()
    if self.forced_host_devices is not None:
      jax.config.update('jax_num_cpu_devices', self.forced_host_devices)
    return sharding.make_mesh(jax.devices()[: self.num_devices])

  def peak_memory(self) -> int:
    """Bytes of the first device; of the process if the device does not count them, as CPUs."""
    statistics = jax.devices()[0].memory_stats()
    return statistics['peak_bytes_in_use'] if statistics else process_peak_memory()


class JaxTraining(_JaxContestant):
  """Training steps as in the training loop; settings.steps_per_dispatch steps are one run."""

  def start(self) -> Started:
    settings, mesh = self.settings, self._mesh()
    training = build_training(settings, VOCABULARY)
    scenes = [
      {name: array for name, array in vars(batch).items() if array is not None}
      for batch in (random_batch(settings, seed, full=self.full) for seed in range(_NUM_BATCHES))
    ]
    self._batches = dispatch.device_batches(
      itertools.cycle(scenes), settings.steps_per_dispatch, mesh
    )
    self._state = jax.jit(training.init, out_shardings=sharding.replicated(mesh))()
    batch = next(self._batches)
    start = time.perf_counter()
    self._steps: Any = dispatch.compile_steps(
      training, self._state, batch, mesh, batch_norm_frozen=False
    ).result()
    seconds = time.perf_counter() - start
    device = mesh.devices.flat[0]
    return Started(device.platform, device.device_kind, seconds, settings.steps_per_dispatch)

  def run(self, times: int):
    metrics = None
    for _ in range(times):
      self._state, metrics = self._steps(self._state, next(self._batches))
    jax.block_until_ready((self._state, metrics))

  def program(self) -> str:
    """The HLO text of the compiled step."""
    return self._steps.as_text()


class JaxSampling(_JaxContestant):
  """Samples of bare graphs as `sample` computes them: noise, boxes, masks, 8-bit pixels."""

  def start(self) -> Started:
    settings, mesh = self.settings, self._mesh()
    training = build_training(settings, VOCABULARY)
    variables = jax.jit(lambda: training.init().sampling_variables())()
    self._sampler = Sampler(training.generator, variables, mesh)
    batch = random_batch(settings, seed=0, full=self.full)
    self._batch = batch.replace(boxes=None, masks=None, image=None)
    self._indices = np.arange(settings.batch_size, dtype=np.int32)
    start = time.perf_counter()
    jax.block_until_ready(self._sample())
    device = mesh.devices.flat[0]
    return Started(device.platform, device.device_kind, time.perf_counter() - start)

  def _sample(self) -> SampledBatch:
    return self._sampler.sample(self._batch, 0, self._indices, self._indices, stretch=False)

  def run(self, times: int):
    sampled = None
    for _ in range(times):
      sampled = self._sample()
    jax.block_until_ready(sampled)


@dataclasses.dataclass
class TorchContestant:
  """The PyTorch model on a batch that is on its device already.

  A user's DataLoader would prepare batches in other processes.

  Attributes:
    settings: sizes and all else.
    action: train_step | sample, the method of the Peer.
    device: cpu | cuda.
    compiled: by torch.compile.
  """

  settings: Settings
  action: str
  device: str
  compiled: bool

  def start(self) -> Started:
    import torch  # here, because only processes that measure it need it

    from benchmarks.torch_peer import Peer

    if self.device == 'cuda' and not torch.cuda.is_available():
      raise RuntimeError('this PyTorch finds no GPU')
    self._peer = Peer(
      self.settings,
      VOCABULARY,
      device=self.device,
      dtype=self.settings.dtype,
      compile=self.compiled,
    )
    batch = random_batch(self.settings, seed=0)
    if self.action == 'sample':
      batch = batch.replace(boxes=None, masks=None, image=None)
    self._peer.load_batch(batch)
    seconds = None
    if self.compiled:
      start = time.perf_counter()
      self.run(1)
      seconds = time.perf_counter() - start
    if self.device == 'cpu':
      return Started('cpu', 'cpu', seconds)
    return Started('gpu', torch.cuda.get_device_name(), seconds)

  def run(self, times: int):
    for _ in range(times):
      getattr(self._peer, self.action)()
    self._peer.synchronize()

  def peak_memory(self) -> int:
    return self._peer.peak_memory()


@dataclasses.dataclass(frozen=True)
class Devices:
  """The devices that JAX finds.

  Attributes:
    platform: cpu | gpu | tpu.
    device_kind: as JAX names it.
    count: how many.
  """

  platform: str
  device_kind: str
  count: int


class _Probe:
  """Looks at the devices; its process ends at once and so frees their memory."""

  def start(self) -> Started:
    device = jax.local_devices()[0]
    return Started(device.platform, device.device_kind)

  def run(self, times: int):
    pass

  def peak_memory(self) -> int:
    return 0

  def count(self) -> int:
    return jax.local_device_count()


def find_devices() -> Devices:
  """The devices of this machine, found without holding them.

  Raises:
    UserError: JAX cannot start.
  """
  with ContestantProcess(_Probe()) as probe:
    try:
      started = probe.started()
    except ContestantFailed as failure:
      raise UserError(
        f'JAX finds no device: {failure}; install it for a CPU, GPU or TPU, see README.md'
      ) from failure
    return Devices(started.platform, started.device_kind, probe.call('count'))
