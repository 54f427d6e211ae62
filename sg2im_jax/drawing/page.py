"""The figures of a model as one page of HTML; its text, style and script are in page.html."""

import base64
import collections
import dataclasses
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from data_pipelines.drawing import sheets as drawing
from data_pipelines.drawing.graphs import OBJECT_TEXT, PREDICATE_TEXT, place_graph
from data_pipelines.pipeline import prepared
from data_pipelines.scene_graphs.graph import SceneGraph
from sg2im_jax.sampling.sampler import GraphSamples

_LAYOUT_SIDE = 192  # pixels: the longer side of a layout's own coordinates in the page


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
  """A row of figure 5.

  Attributes:
    scene: of the data set.
    painted: uint8[H, W, 3], the model's picture of the scene's own layout, with the noise of the
    first sample.
    samples: drawn from the graph alone.
  """

  scene: prepared.Scene
  painted: np.ndarray
  samples: GraphSamples


@dataclasses.dataclass(frozen=True, eq=False)
class Progression:
  """A row of figure 6: where its graphs come from, and these with a picture each, all drawn with
  the same noise.
  """

  source: str
  stages: Sequence[GraphSamples]


def page(
  facts: Mapping[str, Any],
  notes: Sequence[str],
  painted_from: str,
  examples: Sequence[Example],
  progressions: Sequence[Progression],
) -> str:
  """Both figures as HTML that refers to nothing outside of it.

  Args:
    facts: what the pictures were made with, by name.
    notes: sentences to bear in mind when looking at them.
    painted_from: as of `examples_sheet`.
    examples: of figure 5.
    progressions: of figure 6.
  """
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.globals.update(
    changes=changes,
    place_graph=place_graph,
    place_objects=drawing.place_objects,
    picture_uri=_picture_uri,
    mask_uri=_mask_uri,
    color=drawing.class_color,
    ink_on=drawing.ink_on,
    object_text=OBJECT_TEXT,
    predicate_text=PREDICATE_TEXT,
    label_text=drawing.LABEL_TEXT,
    layout_side=_LAYOUT_SIDE,
  )
  return environment.get_template('page.html').render(
    facts=facts,
    notes=notes,
    painted_from=painted_from,
    examples=examples,
    progressions=progressions,
  )


def _picture_uri(pixels: np.ndarray) -> str:
  """Of uint8[H, W, 3]."""
  return _data_uri(Image.fromarray(pixels))


def _mask_uri(name: str, mask: np.ndarray | None) -> str:
  """A picture of the class's colour, opaque where the mask is; for its box to be filled with."""
  opacity = drawing.mask_opacity(mask)
  picture = Image.new('RGB', opacity.size, drawing.class_color(name))
  picture.putalpha(opacity)
  return _data_uri(picture)


def _data_uri(picture: Image.Image) -> str:
  return f'data:image/png;base64,{base64.b64encode(png(picture)).decode()}'


def png(picture: Image.Image) -> bytes:
  encoded = io.BytesIO()
  picture.save(encoded, 'png')
  return encoded.getvalue()


def changes(before: SceneGraph, after: SceneGraph) -> tuple[list[str], list[str]]:
  """What one stage has added to the one before it, and what it has taken away: "sheep", "sheep on
  grass".
  """
  old, new = _parts(before), _parts(after)
  return [text for _, text in (new - old).elements()], [text for _, text in (old - new).elements()]


def _parts(graph: SceneGraph) -> collections.Counter:
  """Each object and relationship as the places of its objects and its text."""
  names = graph.objects
  return collections.Counter(
    [
      *(((place,), name) for place, name in enumerate(names)),
      *(
        ((subject, object_), f'{names[subject]} {predicate} {names[object_]}')
        for subject, predicate, object_ in graph.relationships
      ),
    ]
  )
