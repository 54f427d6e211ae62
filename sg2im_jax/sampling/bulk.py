"""A file of graphs of any length, sampled into a directory: resumable, by one or more processes."""

import functools
import itertools
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import jax

from data_pipelines import atomic_files
from data_pipelines.pipeline.parallel import ordered_map
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.runtime import hosts, reporting
from sg2im_jax.sampling.graphs import GraphSamples, check_graphs
from sg2im_jax.sampling.output_directory import OutputDirectory, State
from sg2im_jax.sampling.shards import ShardDirectory
from sg2im_jax.sampling.trained_model import TrainedModel

MOST_GRAPHS_WITH_DRAWINGS = 100

_Sample = Callable[[Mapping[int, SceneGraph]], Iterator[GraphSamples]]


def sample_to_directory(
  model: TrainedModel,
  graphs: Sequence[SceneGraph],
  output_dir: str | os.PathLike,
  *,
  source: str = 'graphs',
  samples: int = 4,
  seed: int = 0,
  stretch: bool | None = None,
  batch_size: int | None = None,
  pictures: Literal['all', 'samples', 'shards'] | None = None,
) -> list[pathlib.Path]:
  """Writes samples of every graph; graphs that are complete already are kept.

  Several processes share the work: each one takes every N-th graph. Every graph is checked before
  anything is sampled or written.

  Args:
    model: to sample from.
    graphs: in the order of their file.
    output_dir: made if it is missing.
    source: of the graphs, with which messages about them begin.
    samples: pictures of each graph.
    seed: the same seed gives the same pixels.
    stretch: see `pixels.denormalize`; None for what the model's settings say.
    batch_size: pictures computed at a time; None for 64 a device.
    pictures: `samples` writes only the samples and graph.json of each graph, `all` also drawings of
      graph and layout, sheets and overviews, `shards` tar archives of them, see `shards`; None for
      all of up to MOST_GRAPHS_WITH_DRAWINGS.

  Returns:
    What to look at: the overviews, or the directory.

  Raises:
    UserError: a graph does not fit the model, something cannot be written, a batch does not fit the
      memory of the devices, or the directory has shards of something else.
  """
  graphs = model.understood(graphs)
  check_graphs(graphs, model.vocabulary, source)
  if model.settings.losses.bbox_weight == 0 and model.settings.tokens is None:
    reporting.info('this model was trained without a box loss: its predicted boxes mean nothing')
  are_few = len(graphs) <= MOST_GRAPHS_WITH_DRAWINGS
  if pictures is None and not are_few:
    reporting.info(
      f'{len(graphs)} graphs: of each only sample_*.png and graph.json are written; '
      'pictures=all adds drawings of graphs and layouts, and overviews, pictures=shards writes '
      'few files'
    )
  stretch = model.settings.sampling.stretch if stretch is None else stretch
  facts = {'seed': seed, 'step': model.step, 'stretch': stretch, 'model': model.fingerprint}
  sample = functools.partial(
    model.sample_graphs, samples=samples, seed=seed, stretch=stretch, batch_size=batch_size
  )
  atomic_files.check_writable(pathlib.Path(output_dir))
  try:
    if pictures == 'shards':
      shards = ShardDirectory(pathlib.Path(output_dir), graphs, samples, facts)
      results = _write_shards(shards, sample)
    else:
      directory = OutputDirectory(
        pathlib.Path(output_dir),
        len(graphs),
        samples,
        drawings=pictures == 'all' or (pictures is None and are_few),
        facts=facts,
      )
      results = _write_folders(directory, graphs, sample)
  except OSError as error:
    raise UserError(
      f'cannot write to {output_dir}: {error.strerror or error}; free space or choose an '
      'output directory that can be written; the same command continues where it stopped'
    ) from error
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    size = model.sampler.batch_size(len(graphs) * samples, batch_size)
    raise UserError(
      f'a batch does not fit the memory of the devices; give a batch_size smaller than {size}'
    ) from error
  return results


def _write_folders(
  directory: OutputDirectory, graphs: Sequence[SceneGraph], sample: _Sample
) -> list[pathlib.Path]:
  """A folder for each graph, and overviews; returns what to look at."""
  left = _incomplete(directory, graphs)
  written = ordered_map(directory.write, sample(left))
  images_each = directory.samples_per_graph
  for _ in reporting.with_progress(
    written, total=len(left), noun='graphs', images_each=images_each
  ):
    pass
  hosts.barrier('all graphs are sampled')
  results = [directory.directory]
  if directory.drawings and hosts.is_first():
    results = directory.write_overviews()
  hosts.barrier('the overviews are drawn')
  return results


def _write_shards(shards: ShardDirectory, sample: _Sample) -> list[pathlib.Path]:
  """The shards that are missing; this process writes every N-th. Returns their directory."""
  if hosts.is_first():
    shards.begin()
  hosts.barrier('the directory is the right one')
  mine = range(jax.process_index(), len(shards), jax.process_count())
  left = [number for number in mine if not shards.path(number).exists()]
  if len(left) < len(mine):
    reporting.info(f'{len(mine) - len(left)} of {len(mine)} shards are there already')
  sizes = [len(shards.indices(number)) for number in left]
  sampled = (  # shard after shard
    one
    for number in left
    for one in sample({index: shards.graphs[index] for index in shards.indices(number)})
  )
  sampled = reporting.with_progress(
    sampled, total=sum(sizes), noun='graphs', images_each=shards.samples_per_graph
  )
  for number, size in zip(left, sizes):
    shards.write(number, itertools.islice(sampled, size))
  hosts.barrier('all graphs are sampled')
  return [shards.directory]


def _incomplete(directory: OutputDirectory, graphs: Sequence[SceneGraph]) -> dict[int, SceneGraph]:
  """This process's graphs, by index, that are not complete."""
  mine = range(jax.process_index(), len(graphs), jax.process_count())
  states = {index: directory.state(index, graphs[index]) for index in mine}
  found = list(states.values())
  of_process = '' if jax.process_count() == 1 else f' of process {jax.process_index()}'
  if State.COMPLETE in found:
    reporting.info(
      f'{found.count(State.COMPLETE)} of {len(mine)} graphs{of_process} are there already'
    )
  if State.OUTDATED in found:
    reporting.info(
      f'{found.count(State.OUTDATED)} of {len(mine)} graphs{of_process} are there with another '
      'seed, model, setting or graph, or incomplete: they are replaced'
    )
  return {index: graphs[index] for index, state in states.items() if state is not State.COMPLETE}
