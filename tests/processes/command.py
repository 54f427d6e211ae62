"""A command that does what its flag says."""

from typing import Annotated

from pydantic import Field

from data_pipelines.command_line import PROSE
from data_pipelines.scene_graphs.errors import Fault, SettingsError, UserError
from data_pipelines.settings.section import Section
from sg2im_jax.runtime import command_line, reporting


class Options(Section):
  """The flags of the command."""

  ending: str = Field(
    'done',
    description='How the command ends: user_error, settings_error, path, text, given, or a report.',
  )
  path: str = Field('', description='What ending=path reports.')
  text: Annotated[str, PROSE] = Field('', description='What ending=text reports.')


def main(options: Options):
  if options.ending == 'user_error':
    raise UserError('a.json: empty;\n  name an object')
  if options.ending == 'settings_error':
    raise SettingsError(Fault('ending', 'is wrong', 'done'))
  given = ', '.join(sorted(options.model_fields_set))
  reported = {'path': options.path, 'text': options.text, 'given': given}
  reporting.info(reported.get(options.ending, options.ending))
  reporting.warning('and a warning')


if __name__ == '__main__':
  command_line.run(Options, main, doc=__doc__)
