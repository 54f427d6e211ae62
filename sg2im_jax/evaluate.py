"""Scores a trained model: its layouts, its pictures, and the objects in them.

  python -m sg2im_jax.evaluate --workdir=runs/storybook --split=val

samples the graphs of the split, each several times, and writes to the work directory, or to
--output_dir:

  evaluation.json   every score, and the whole protocol: split, images, samples, weights with their
                    SHA-256, resizing
  evaluation.md     the same as tables to read
  evaluation.png    the first graphs: the real image, and samples

  Layout   IoU of predicted boxes with those of the data, recall at IoU 0.3 and 0.5, sigma_x,
           sigma_area (paper table 2); the share of the graphs' geometric relations that the
           boxes keep, for each predicate; SG-IoU and relation IoU of the graphs that they show.
  Images   Inception score, FID, SceneFID (FID of objects cut out), KID, precision and recall,
           diversity of the samples of one graph. Features come from --backbone:
           efficientnet-lite0, whose weights come with a package, or inception-2015, that of
           published scores, whose weights (91 MB) are downloaded once. Scores of different
           backbones do not compare. Real images of another split get the same scores, as the best
           that can be expected.
  Objects  classification accuracy score: a small ResNet learns objects of real pictures and names
           sampled ones, and the other way round.
  Edits    of a token model: --num_edited real scenes, changed in every way of `edit`; what stays,
           and whether each change does what it says.

The backbones need pip install -e '.[evaluate]'; --backbone=none scores the layout alone, without.
The same command gives the same scores: graphs, noise and subsets come from --seed and from each
image's place in its split. All devices of this machine share the work.

--protocol=NAME does what a paper did; `docs/evaluation.md` has the sources, and where papers and
their code contradict each other. A protocol without its data set, sizes or images is refused:

{protocols}

Other protocols are said with flags. Five pictures of each of the images of a list from ground-truth
layouts, compared at 256 x 256:

  --image_ids=ids.txt --boxes=ground_truth --masks=ground_truth --samples_per_graph=5
  --image_size=256,256

  python -m sg2im_jax.evaluate --compare runs/full runs/no_gconv

sets the evaluations of several work directories side by side, beside the published scores of the
same data set, and names the settings in which their protocols differ.
"""

from typing import Literal

from pydantic import Field

from data_pipelines.scene_graphs.errors import Fault, SettingsError, UserError
from sg2im_jax.evaluation import named_protocols
from sg2im_jax.evaluation.protocol import Protocol, ProtocolOptions, load_image_ids
from sg2im_jax.runtime import command_line, reporting


class EvaluateOptions(ProtocolOptions):
  """The flags of the command."""

  workdir: str | None = Field(None, description='Work directory of a training run.')
  protocol: str | None = Field(
    None,
    description='Name of a published protocol, see above. Flags given beside it win, and '
    'evaluation.json says what they change.',
  )
  compare: bool = Field(
    False,
    description='Instead of evaluating: set the evaluated work directories that are named at the '
    'end of the command side by side.',
  )
  directories: tuple[str, ...] = ()  # the arguments that are no flags
  image_ids: str | None = Field(
    None, description='Text file of the ids of the images to take, one a line; by default all.'
  )
  image_size: tuple[int, ...] | None = Field(
    None,
    description='Height and width, such as 256,256, that sampled and real pictures are brought to '
    "(bicubic) before the backbone; by default the model's own.",
  )
  backbone: Literal['efficientnet-lite0', 'inception-2015', 'none'] | None = Field(
    None,
    description='Whose features to compare by; none for the layout alone. By default that of '
    '--protocol, or efficientnet-lite0.',
  )
  backbone_weights: str | None = Field(
    None,
    description='PyTorch file of its weights; by default those that come with a package, or are '
    'downloaded.',
  )
  data_dir: str | None = Field(
    None, description='Where the prepared data is; by default where training had it.'
  )
  source_dir: str | None = Field(
    None, description='Where the official files are; by default where training had them.'
  )
  output_dir: str | None = Field(
    None, description='Folder for the three files; by default the work directory.'
  )

  def asked(self) -> Protocol:
    """The protocol that the given flags describe, with the ids of the file."""
    values = {
      name: getattr(self, name)
      for name in self.model_fields_set & ProtocolOptions.model_fields.keys()
    }
    ids = None if self.image_ids is None else load_image_ids(self.image_ids)
    return Protocol.from_values(
      {**values, 'name': self.protocol, 'image_ids': ids, 'image_size': self.image_size}
    )


def evaluate(options: EvaluateOptions):
  if options.compare:
    _compare(options)
    return
  if options.directories:
    raise UserError(
      f'unexpected argument {options.directories[0]!r}; every option is a flag, --name=value, and '
      '--help lists them'
    )
  if options.workdir is None:
    raise SettingsError(
      Fault(
        'workdir',
        'is missing; expected the work directory of a training run, or --compare DIR1 DIR2 ...',
      )
    )
  protocol = options.asked()

  from sg2im_jax.evaluation import evaluation, report  # TensorFlow takes seconds

  results = evaluation.evaluate(
    options.workdir,
    protocol,
    backbone=options.backbone,
    backbone_weights=options.backbone_weights,
    data_dir=options.data_dir,
    source_dir=options.source_dir,
    output_dir=options.output_dir,
  )
  reporting.info(report.markdown(results))
  reporting.info(
    f'written to {options.output_dir or options.workdir}: evaluation.json, evaluation.md, '
    'evaluation.png'
  )


def _compare(options: EvaluateOptions):
  if not options.directories:
    raise SettingsError(
      Fault(
        'compare',
        'is followed by nothing; expected evaluated work directories: --compare DIR1 DIR2 ...',
      )
    )

  from sg2im_jax.evaluation.comparison import comparison

  reporting.info(comparison(options.directories))


def _help() -> str:
  rows = named_protocols.rows()
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = ['  ' + '  '.join(map(str.ljust, row, widths)).rstrip() for row in rows]
  return (__doc__ or '').format(protocols='\n'.join(lines))


def main():
  command_line.run(EvaluateOptions, evaluate, doc=_help(), positional='directories')


if __name__ == '__main__':
  main()
