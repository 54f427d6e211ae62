"""How the commands of this package start: as those of data_pipelines, and with JAX set up."""

from collections.abc import Callable
from typing import NoReturn, TypeVar

from absl import flags
from ml_collections import ConfigDict

from data_pipelines import command_line
from data_pipelines.settings.section import Section
from sg2im_jax.runtime import compilation, config_flag, hosts, quiet_orbax, reporting

Options = TypeVar('Options', bound=Section)


def run(
  options_class: type[Options],
  main: Callable[[Options], int | None],
  *,
  doc: str | None,
  positional: str | None = None,
) -> NoReturn:
  """Runs a command; the arguments are those of `data_pipelines.command_line.run`.

  Before `main`, programs are compiled as for users (`compilation.configure`), records of progress
  are printed, and the other processes are joined if the options are `hosts.HostOptions`.
  """

  def prepared(options: Options) -> int | None:
    _set_up(options)
    return main(options)

  command_line.run(options_class, prepared, doc=doc, positional=positional)


def run_with_config(
  options_class: type[Options],
  main: Callable[[Options, ConfigDict], int | None],
  *,
  doc: str | None,
) -> NoReturn:
  """Runs a command that has the flag --config beside its options; see `run`."""
  config_flag.define()

  def prepared(options: Options) -> int | None:
    _set_up(options)
    return main(options, flags.FLAGS.config)

  command_line.run(
    options_class,
    prepared,
    doc=doc,
    spell=lambda setting: f'--config.{setting}',
    parse=config_flag.parse_flags,
  )


def _set_up(options: Section):
  compilation.configure()
  quiet_orbax.enable()
  reporting.print_records()
  if isinstance(options, hosts.HostOptions):
    hosts.initialize(options)
  compilation.check_platform()
