"""A scene graph as a picture: objects are boxes in the colour of their class, predicates labels.

Graphviz (bundled with pygraphviz) places nodes and arrows. Pillow draws them, so that the picture
needs no font of the system and is the same on every machine.
"""

import dataclasses
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pygraphviz
from PIL import Image, ImageDraw

from data_pipelines.drawing.style import (
  BACKGROUND,
  INK,
  Color,
  class_color,
  font,
  text_size,
  tint,
)
from data_pipelines.scene_graphs.graph import SceneGraph

OBJECT_TEXT, PREDICATE_TEXT = 16, 13  # heights in pixels

Point = tuple[float, float]

# Graphviz puts the first object of a triple on top. With these predicates the second one is higher
# in the scene.
_UPWARD = ('below', 'under', 'beneath', 'in front of')
_SCALE = 2  # Pillow's lines are not anti-aliased: draw larger, then reduce
_PREDICATE_INK = (92, 92, 104)
_ARROW = (150, 150, 162)
_ARROW_WIDTH = 2
_CURVE_STEPS = 16
_MARGIN = 12
# Graphviz returns positions in points and takes sizes in inches; here a point is a pixel.
_POINTS_PER_INCH = 72


@dataclasses.dataclass(frozen=True)
class PlacedNode:
  """A text in a drawn graph, with its centre and size in pixels from the top left.

  Attributes:
    name: of the object class or the predicate.
    text: what is drawn: the name, with the attributes of an object before it.
    x, y, width, height: of the node.
  """

  name: str
  text: str
  x: float
  y: float
  width: int
  height: int


@dataclasses.dataclass(frozen=True)
class Arrow:
  """A line of a drawn graph.

  Attributes:
    curve: cubic Bezier curves one after the other: a point, then three for each curve.
    heads: the corners of each arrow head, its tip first.
  """

  curve: tuple[Point, ...]
  heads: tuple[tuple[Point, Point, Point], ...]


@dataclasses.dataclass(frozen=True)
class PlacedGraph:
  """The positions of everything in a drawn graph.

  Attributes:
    width: of the whole drawing in pixels.
    height: of the whole drawing in pixels.
    objects: in the order of the graph.
    predicates: in the order of the graph's relationships.
    arrows: of each relationship: the line between its subject and its predicate, that between
    predicate and object.
  """

  width: float
  height: float
  objects: tuple[PlacedNode, ...]
  predicates: tuple[PlacedNode, ...]
  arrows: tuple[tuple[Arrow, ...], ...]


def place_graph(graph: SceneGraph) -> PlacedGraph:
  """The positions of objects, predicates and arrows."""
  placed = _place(graph)
  left, bottom, right, top = (float(number) for number in placed.graph_attr['bb'].split(','))

  def to_pixels(position: str) -> Point:  # Graphviz's y axis points up
    x, y = (float(number) for number in position.split(','))
    return x - left + _MARGIN, top - y + _MARGIN

  def node(kind: str, index: int, name: str, text: str, size: tuple[int, int]) -> PlacedNode:
    position = _attributes(placed.get_node(f'{kind} {index}'))['pos']
    return PlacedNode(name, text, *to_pixels(position), *size)

  arrows = [[] for _ in graph.relationships]
  for edge in placed.edges():
    label = next(end for end in edge if end.startswith('relationship'))
    arrows[int(label.split()[1])].append(_arrow(_attributes(edge)['pos'], to_pixels))
  return PlacedGraph(
    right - left + 2 * _MARGIN,
    top - bottom + 2 * _MARGIN,
    tuple(
      node('object', index, name, graph.label(index), _object_size(graph.label(index)))
      for index, name in enumerate(graph.objects)
    ),
    tuple(
      node('relationship', index, name, name, _predicate_size(name))
      for index, (_, name, _) in enumerate(graph.relationships)
    ),
    tuple(map(tuple, arrows)),
  )


def draw_graph(graph: SceneGraph) -> Image.Image:
  """Returns an RGB picture, as large as the graph needs; attributes of the image stand below."""
  placed = place_graph(graph)
  scene = ', '.join(graph.scene)
  width, height = text_size(scene, PREDICATE_TEXT) if scene else (0, 0)
  below = height + 2 * _MARGIN if scene else 0
  size = (
    round(max(placed.width, width + 2 * _MARGIN) * _SCALE),
    round((placed.height + below) * _SCALE),
  )
  picture = Image.new('RGB', size, BACKGROUND)
  draw = ImageDraw.Draw(picture)
  draw.text(
    (_MARGIN * _SCALE, (placed.height + below / 2) * _SCALE),
    scene,
    fill=INK,
    font=font(PREDICATE_TEXT * _SCALE),
    anchor='lm',
  )
  for arrow in itertools.chain(*placed.arrows):
    _draw_arrow(draw, arrow)
  for node in placed.predicates:
    _draw_node(
      draw, node, text_height=PREDICATE_TEXT, fill=BACKGROUND, outline=None, ink=_PREDICATE_INK
    )
  for node in placed.objects:
    color = class_color(node.name)
    _draw_node(draw, node, text_height=OBJECT_TEXT, fill=tint(color, 0.22), outline=color, ink=INK)
  return picture.resize((size[0] // _SCALE, size[1] // _SCALE), Image.Resampling.LANCZOS)


def _object_size(name: str) -> tuple[int, int]:
  width, height = text_size(name, OBJECT_TEXT)
  return max(width, 24) + 24, height + 12


def _predicate_size(name: str) -> tuple[int, int]:
  width, height = text_size(name, PREDICATE_TEXT)
  return width + 10, height + 4


def _place(graph: SceneGraph) -> pygraphviz.AGraph:
  """Positions by Graphviz's dot.

  Every predicate is a node of its own between two objects, so that labels do not overlap and
  parallel arrows stay apart.
  """
  placed = pygraphviz.AGraph(directed=True, ranksep=0.2, nodesep=0.25)
  placed.node_attr.update(shape='box', fixedsize='true', label='')
  nodes = [
    (f'object {index}', _object_size(graph.label(index))) for index in range(len(graph.objects))
  ]
  nodes += [
    (f'relationship {index}', _predicate_size(name))
    for index, (_, name, _) in enumerate(graph.relationships)
  ]
  for node, (width, height) in nodes:
    placed.add_node(node, width=width / _POINTS_PER_INCH, height=height / _POINTS_PER_INCH)
  for index, (subject, predicate, object_) in enumerate(graph.relationships):
    subject, label, object_ = f'object {subject}', f'relationship {index}', f'object {object_}'
    if predicate in _UPWARD:
      placed.add_edge(object_, label, dir='back')
      placed.add_edge(label, subject, dir='none')
    else:
      placed.add_edge(subject, label, dir='none')
      placed.add_edge(label, object_, dir='forward')
  placed.layout('dot')
  return placed


def _attributes(item: Any) -> Mapping[str, str]:
  """Graphviz's attributes of a node or edge, which pygraphviz declares as a string or tuple."""
  return item.attr


def _arrow(spline: str, to_pixels: Callable[[str], Point]) -> Arrow:
  """The arrow of Graphviz's spline: "[s,x,y] [e,x,y] point (point point point)*", cubic Beziers."""
  curve = tuple(to_pixels(part) for part in spline.split() if part[0] not in 'se')
  heads = []
  for part in spline.split():
    if part[0] in 'se':  # the tip of a head at the start or end; the curve stops at its base
      (tip_x, tip_y), (x, y) = to_pixels(part[2:]), curve[0 if part[0] == 's' else -1]
      side_x, side_y = 0.42 * (tip_y - y), 0.42 * (x - tip_x)
      heads.append(((tip_x, tip_y), (x + side_x, y + side_y), (x - side_x, y - side_y)))
  return Arrow(curve, tuple(heads))


def _draw_arrow(draw: ImageDraw.ImageDraw, arrow: Arrow):
  points = _scaled(arrow.curve)
  curve = [points[0]]
  for start in range(0, len(points) - 1, 3):
    curve += [
      _bezier(points[start : start + 4], step / _CURVE_STEPS) for step in range(1, _CURVE_STEPS + 1)
    ]
  draw.line(curve, fill=_ARROW, width=_ARROW_WIDTH * _SCALE, joint='curve')
  for corners in arrow.heads:
    draw.polygon(_scaled(corners), fill=_ARROW)


def _scaled(points: Sequence[Point]) -> list[Point]:
  return [(x * _SCALE, y * _SCALE) for x, y in points]


def _bezier(points: Sequence[Point], t: float) -> Point:
  weights = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3)
  xs, ys = zip(*points, strict=True)
  return sum(map(operator.mul, weights, xs)), sum(map(operator.mul, weights, ys))


def _draw_node(
  draw: ImageDraw.ImageDraw,
  node: PlacedNode,
  *,
  text_height: int,
  fill: Color,
  outline: Color | None,
  ink: Color,
):
  (x, y), (width, height) = (
    (node.x * _SCALE, node.y * _SCALE),
    (node.width * _SCALE, node.height * _SCALE),
  )
  corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
  draw.rounded_rectangle(corners, radius=8 * _SCALE, fill=fill, outline=outline, width=2 * _SCALE)
  draw.text((x, y), node.text, fill=ink, font=font(text_height * _SCALE), anchor='mm')
