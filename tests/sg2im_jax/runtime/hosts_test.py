import pytest
from absl import flags

from data_pipelines import command_line
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.runtime import hosts
from sg2im_jax.runtime.hosts import HostOptions
from tests.training_runs import start_training


def parse(*arguments):
  """The options that a command has from these arguments."""
  flag_values = flags.FlagValues()
  command_line.define_flags(HostOptions, flag_values)
  flag_values(['train', *arguments])
  return HostOptions(**{name: flag_values[name].value for name in HostOptions.model_fields})


def test_one_process_needs_no_flags():
  hosts.initialize(parse())
  assert hosts.is_first() and hosts.own_shard() == {'shard_index': 0, 'num_shards': 1}
  assert hosts.largest(3) == 3 and hosts.first_alone(lambda: 'result') == 'result'


@pytest.mark.parametrize(
  'arguments, message',
  [
    (
      ['--num_processes=2', '--process_id=0'],
      '--coordinator_address is missing; give --coordinator_address, ',
    ),
    (['--coordinator_address=a:1', '--process_id=0'], '--num_processes is missing'),
    (['--coordinator_address=a:1', '--num_processes=2', '--multi_host'], '--process_id is missing'),
    (
      ['--coordinator_address=a:1', '--num_processes=2', '--process_id=2'],
      '--process_id=2: expected less than --num_processes=2',
    ),
    (
      ['--coordinator_address=a', '--num_processes=2', '--process_id=0'],
      '--coordinator_address=a: expected HOST:PORT of process 0, such as a:8476',
    ),
  ],
)
def test_mistaken_flags(arguments, message):
  with pytest.raises(UserError, match=message) as error:
    hosts.initialize(parse(*arguments))
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'arguments', [['--num_processes=0'], ['--process_id=-1'], ['--num_processes=two']]
)
def test_mistaken_numbers(arguments):
  with pytest.raises(flags.IllegalFlagValueError):
    parse(*arguments)


def test_no_cluster_is_one_line(directory):
  process = start_training(directory / 'unused', directory, '--multi_host')
  printed, errors = process.communicate(timeout=120)
  assert (process.returncode, printed, len(errors.splitlines())) == (2, '', 1)
  assert errors.startswith('error: the processes of this job cannot be joined: ')
