"""What is measured: training and sampling with this package, and their PyTorch counterparts."""

import contextlib
import dataclasses
import io
import itertools
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks.measure import ContestantFailed, Entrant, Started, process_peak_memory
from benchmarks.scenes import VOCABULARY, random_batch
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.runtime import compilation, sharding
from sg2im_jax.sampling.sampler import DrawnBatch, Sampler
from sg2im_jax.training import dispatch
from sg2im_jax.training.state import build_networks, create_train_state

_NUM_BATCHES = 4  # of scenes, which are put on the devices one after another


@dataclasses.dataclass
class _JaxContestant:
  """Attributes:
  config: sizes and settings.
  cache_dir: where compiled programs are kept and found; None for nowhere.
  full: whether scenes fill all slots, see `random_batch`.
  num_devices: the first so many; None for all.
  forced_host_devices: make a CPU of so many devices; None for what there is.
  """

  config: ConfigDict
  cache_dir: str | None = None
  full: bool = False
  num_devices: int | None = None
  forced_host_devices: int | None = None

  def _mesh(self) -> jax.sharding.Mesh:
    compilation.choose_cpu_library()
    jax.config.update('jax_compilation_cache_dir', self.cache_dir)
    if self.forced_host_devices is not None:
      jax.config.update('jax_num_cpu_devices', self.forced_host_devices)
    return sharding.make_mesh(jax.devices()[: self.num_devices])

  def peak_memory(self) -> int:
    """Bytes of the first device; of the process where devices do not count them, as CPUs do not."""
    statistics = jax.devices()[0].memory_stats()
    return statistics['peak_bytes_in_use'] if statistics else process_peak_memory()


class JaxTraining(_JaxContestant):
  """What the training loop does between two lines of its log; config.steps_per_dispatch steps are
  one run.
  """

  def start(self) -> Started:
    config, mesh = self.config, self._mesh()
    scenes = [vars(random_batch(config, seed, full=self.full)) for seed in range(_NUM_BATCHES)]
    self._batches = dispatch.device_batches(
      itertools.cycle(scenes), config.steps_per_dispatch, mesh
    )
    self._state = jax.jit(
      lambda: create_train_state(config, VOCABULARY), out_shardings=sharding.replicated(mesh)
    )()
    batch = next(self._batches)
    start = time.perf_counter()
    with contextlib.redirect_stdout(
      io.StringIO()
    ):  # it says when it compiles, and a table is being printed
      self._steps = dispatch.compile_steps(
        config, VOCABULARY, self._state, batch, mesh, batch_norm_frozen=False
      )
    seconds = time.perf_counter() - start
    device = mesh.devices.flat[0]
    return Started(device.platform, device.device_kind, seconds, config.steps_per_dispatch)

  def run(self, times: int):
    for _ in range(times):
      self._state, metrics = self._steps(self._state, next(self._batches))
    jax.block_until_ready((self._state, metrics))

  def program(self) -> str:
    """The HLO text of the compiled step."""
    return self._steps.as_text()


class JaxSampling(_JaxContestant):
  """Pictures of bare graphs, as `sample` draws them: noise, boxes, masks, pixels of 8 bits."""

  def start(self) -> Started:
    config, mesh = self.config, self._mesh()
    variables = jax.jit(lambda: create_train_state(config, VOCABULARY).generator.variables)()
    self._sampler = Sampler(build_networks(config, VOCABULARY).generator, variables, mesh)
    self._batch = random_batch(config, seed=0, full=self.full).replace(
      boxes=None, masks=None, image=None
    )
    self._indices = np.arange(config.batch_size, dtype=np.int32)
    start = time.perf_counter()
    jax.block_until_ready(self._draw())
    device = mesh.devices.flat[0]
    return Started(device.platform, device.device_kind, time.perf_counter() - start)

  def _draw(self) -> DrawnBatch:
    return self._sampler.draw(self._batch, 0, self._indices, self._indices, stretch=False)

  def run(self, times: int):
    for _ in range(times):
      drawn = self._draw()
    jax.block_until_ready(drawn)


@dataclasses.dataclass
class TorchContestant:
  """The plain PyTorch model; its batch is on the device already, as its user's DataLoader would be
  other processes.

  Attributes:
    config: sizes and settings.
    action: train_step | sample, the method of the Peer.
    device: cpu | cuda.
    compiled: by torch.compile.
  """

  config: ConfigDict
  action: str
  device: str
  compiled: bool

  def start(self) -> Started:
    import torch  # here, because only processes that measure it should pay for it

    from benchmarks.torch_peer import Peer

    if self.device == 'cuda' and not torch.cuda.is_available():
      raise RuntimeError('this PyTorch finds no GPU')
    self._peer = Peer(
      self.config, VOCABULARY, device=self.device, dtype=self.config.dtype, compile=self.compiled
    )
    batch = random_batch(self.config, seed=0)
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
  """What JAX finds: cpu | gpu | tpu, the kind as JAX names it, how many."""

  platform: str
  device_kind: str
  count: int


class _Probe:
  """Touches the devices in a process that ends at once, so that none of their memory stays taken."""

  def start(self) -> Started:
    device = jax.local_devices()[0]
    return Started(device.platform, device.device_kind)

  def count(self) -> int:
    return jax.local_device_count()


def find_devices() -> Devices:
  """The devices of this machine, found without holding them."""
  with Entrant(_Probe()) as probe:
    try:
      started = probe.started()
    except ContestantFailed as failure:
      raise UserError(
        f'JAX finds no device: {failure}; install it for a CPU, GPU or TPU, see README.md'
      ) from failure
    return Devices(started.platform, started.device_kind, probe.call('count'))
