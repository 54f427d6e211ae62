"""Several processes that train or sample together, one a host as a rule, each with its own devices.

One process needs none of this: without the flags below every function here is for a single one.
With them, every process runs the same program on the same work directory, which all of them must be
able to write and read.
"""

import re
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from absl import flags
from jax.experimental import multihost_utils

from data_pipelines.scene_graphs.errors import UserError

Result = TypeVar('Result')

# A process that ends waits for the others so long: those that a mistake ends alone must soon be
# missed by the others.
_SHUTDOWN_SECONDS = 30


def define_flags(flag_values: flags.FlagValues = flags.FLAGS):
  """Defines --multi_host, and the three flags that say the same by hand."""
  flags.DEFINE_bool(
    'multi_host',
    False,
    'Join the other processes of the job, which the cluster names in the environment: SLURM, '
    'Open MPI, GKE and other TPU slices.',
    flag_values=flag_values,
  )
  flags.DEFINE_string(
    'coordinator_address',
    None,
    'HOST:PORT of process 0, where the environment does not say it; with '
    '--num_processes and --process_id.',
    flag_values=flag_values,
  )
  flags.DEFINE_integer(
    'num_processes', None, 'How many processes there are.', 1, flag_values=flag_values
  )
  flags.DEFINE_integer(
    'process_id', None, 'Which of them this is, from 0.', 0, flag_values=flag_values
  )


def initialize(flag_values: flags.FlagValues = flags.FLAGS):
  """Joins the other processes if the flags ask for it; after compilation.configure, before anything
  is computed.

  Raises:
    UserError: the flags do not say who takes part, or the others cannot be reached.
  """
  given = {
    name: flag_values[name].value for name in ('coordinator_address', 'num_processes', 'process_id')
  }
  missing = [name for name, value in given.items() if value is None]
  if len(missing) == 3 and not flag_values.multi_host:
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
  # Or SIGTERM would do nothing until the loop takes it over: JAX would only note it.
  jax.config.update('jax_enable_preemption_service', False)
  try:
    jax.distributed.initialize(**given, shutdown_timeout_seconds=_SHUTDOWN_SECONDS)
  except (RuntimeError, ValueError) as error:
    reason = str(error).split('\n')[0]
    raise UserError(
      f'the processes of this job cannot be joined: {reason}; start every one of them with '
      '--coordinator_address, --num_processes and --process_id'
    ) from error
  # The runtime connects the devices at the first collective, and gives up when some process comes
  # to it half a minute after the others, as the first one would that prepares a data set. Once
  # connected they wait for each other.
  barrier('all have joined')


def is_first() -> bool:
  """Whether this process is the one that prints, logs and writes single files."""
  return jax.process_index() == 0


def own_shard() -> dict[str, int]:
  """Which rows of each batch this process reads, as arguments of `input_pipeline`."""
  return {'shard_index': jax.process_index(), 'num_shards': jax.process_count()}


def say(text: str):
  """Prints a line, in the first process alone."""
  if is_first():
    print(text, flush=True)


def largest(value: int) -> int:
  """The largest of the values that the processes have; all of them must call this, at the same
  step.
  """
  return (
    value
    if jax.process_count() == 1
    else int(multihost_utils.process_allgather(np.int32(value)).max())
  )


def first_alone(action: Callable[[], Result]) -> Result:
  """The action's result, taken by the first process while the others wait, then by them: they find
  what it made.
  """
  if is_first():
    result = action()
    barrier('the first process is done')
    return result
  barrier('the first process is done')
  return action()


def barrier(name: str):
  """Returns when every process has come here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)
