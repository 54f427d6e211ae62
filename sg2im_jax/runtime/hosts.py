"""Several processes that train or sample together, usually one a host, each with its own devices.

All of them run the same program on the same work directory, which each must be able to read and
write. In a single process, without the flags below, the functions here do nothing but the obvious.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import jax
import numpy as np
import pydantic
from jax.experimental import multihost_utils

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.settings.section import NonNegativeInt, PositiveInt, Section

Result = TypeVar('Result')

# How long a process that ends waits for the others, so that the failure of one is soon noticed.
_SHUTDOWN_SECONDS = 30


class HostOptions(Section):
  """Which processes take part; by default this one alone."""

  multi_host: bool = pydantic.Field(
    False,
    description='Join the other processes of the job, which the cluster names in the environment: '
    'SLURM, Open MPI, GKE and other TPU slices.',
  )
  coordinator_address: str | None = pydantic.Field(
    None,
    description='HOST:PORT of process 0, where the environment does not tell it; with '
    '--num_processes and --process_id.',
  )
  num_processes: PositiveInt | None = pydantic.Field(
    None, description='How many processes there are.'
  )
  process_id: NonNegativeInt | None = pydantic.Field(
    None, description='Which of them this one is, from 0.'
  )


def initialize(options: HostOptions):
  """Joins the other processes if the options ask for it.

  Call it after `compilation.configure` and before anything is computed.

  Raises:
    UserError: the options do not tell who takes part, or the others cannot be reached.
  """
  given = {
    name: getattr(options, name) for name in ('coordinator_address', 'num_processes', 'process_id')
  }
  missing = [name for name, value in given.items() if value is None]
  if len(missing) == 3 and not options.multi_host:
    return
  if 0 < len(missing) < 3:
    raise UserError(
      f'--{missing[0]} is missing; give --coordinator_address, --num_processes and --process_id '
      'together, or --multi_host alone where the cluster knows them'
    )
  if not missing:
    if given['process_id'] >= given['num_processes']:
      raise UserError(
        f'--process_id={given["process_id"]}: expected less than '
        f'--num_processes={given["num_processes"]}'
      )
    if not re.fullmatch(r'.+:\d+', given['coordinator_address']):
      raise UserError(
        f'--coordinator_address={given["coordinator_address"]}: expected HOST:PORT of process 0, '
        f'such as {given["coordinator_address"].rstrip(":")}:8476'
      )
  # With this service JAX catches SIGTERM and only notes it, so that the signal would do nothing
  # until the training loop handles it.
  jax.config.update('jax_enable_preemption_service', False)
  try:
    jax.distributed.initialize(**given, shutdown_timeout_seconds=_SHUTDOWN_SECONDS)
  except (RuntimeError, ValueError) as error:
    reason = str(error).split('\n')[0]
    raise UserError(
      f'the processes of this job cannot be joined: {reason}; start every one of them with '
      '--coordinator_address, --num_processes and --process_id'
    ) from error
  # The runtime connects the devices at the first collective, and gives up if a process comes to it
  # half a minute after the others, as the first one does that prepares a data set. Connected
  # processes wait for each other.
  barrier('all have joined')


def is_first() -> bool:
  """Whether this process is the one that reports, logs and writes single files."""
  return jax.process_index() == 0


def own_shard() -> dict[str, Any]:
  """The rows of each batch that this process reads: arguments of `input_pipeline`'s functions."""
  return {'shard_index': jax.process_index(), 'num_shards': jax.process_count()}


def largest(value: int) -> int:
  """The largest of the processes' values; a collective: all processes must call it."""
  if jax.process_count() == 1:
    return value
  return int(multihost_utils.process_allgather(np.int32(value)).max())


def first_alone(action: Callable[[], Result]) -> Result:
  """Runs the action in the first process, then in the others, which find what it made.

  Returns:
    The action's result in this process.
  """
  if is_first():
    result = action()
    barrier('the first process is done')
    return result
  barrier('the first process is done')
  return action()


@contextlib.contextmanager
def first_holds(acquire: Callable[[], AbstractContextManager]) -> Iterator[None]:
  """A context that the first process enters for all of them.

  Raises:
    UserError: entering it failed: in the first process the reason, in the others that it failed.
  """
  with contextlib.ExitStack() as stack:
    refusal = None
    if is_first():
      try:
        stack.enter_context(acquire())
      except UserError as error:
        refusal = error
    if largest(refusal is not None):
      raise refusal or UserError('the first process was refused; its own error tells why')
    yield


def barrier(name: str):
  """Returns when every process has called it."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)
