"""The figures of a model as one page of HTML; its text, style and script are in page.html."""

import base64
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data_pipelines.drawing import layouts, sheets, style
from data_pipelines.drawing.graphs import OBJECT_TEXT, PREDICATE_TEXT, place_graph
from sg2im_jax.drawing.examples import Example
from sg2im_jax.drawing.progressions import Progression, changes
from sg2im_jax.drawing.variations import Variations

_LAYOUT_SIDE = 192  # pixels: the longer side of a layout's own coordinates in the page


def page(
  *,
  facts: Mapping[str, Any],
  notes: Sequence[str],
  painted_from: str,
  examples: Sequence[Example],
  progressions: Sequence[Progression],
  variations: Mapping[str, Sequence[Variations]],
) -> str:
  """All figures as self-contained HTML.

  Args:
    facts: what the pictures were made with, by name.
    notes: sentences to bear in mind when looking at them.
    painted_from: the part of its layout that each scene is painted from.
    examples: of figure 5.
    progressions: of figure 6.
    variations: rows of pictures by what they show.
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
    place_objects=layouts.place_objects,
    picture_uri=_picture_uri,
    mask_uri=_mask_uri,
    color=style.class_color,
    ink_on=style.ink_on,
    object_text=OBJECT_TEXT,
    predicate_text=PREDICATE_TEXT,
    label_text=layouts.LABEL_TEXT,
    layout_side=_LAYOUT_SIDE,
  )
  return environment.get_template('page.html').render(
    facts=facts,
    notes=notes,
    painted_from=painted_from,
    examples=examples,
    progressions=progressions,
    variations=variations,
  )


def _picture_uri(pixels: UInt8[np.ndarray, 'H W 3']) -> str:
  return _data_uri(Image.fromarray(pixels))


def _mask_uri(name: str, mask: np.ndarray | None) -> str:
  """A picture that fills a box: of the class's colour, opaque where the mask is."""
  opacity = layouts.mask_opacity(mask)
  picture = Image.new('RGB', opacity.size, style.class_color(name))
  picture.putalpha(opacity)
  return _data_uri(picture)


def _data_uri(picture: Image.Image) -> str:
  return f'data:image/png;base64,{base64.b64encode(sheets.png(picture)).decode()}'
