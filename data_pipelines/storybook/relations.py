"""The relations in a storybook picture, which follow exactly from its composition."""

import numpy as np

from data_pipelines.storybook.grounds import Ground, Landscape
from data_pipelines.storybook.placing import Thing
from data_pipelines.storybook.things import KINDS, support_predicate

PREDICATES = ('standing on', 'in', 'on', 'behind', 'in front of', 'next to')
MAX_RELATIONS = 14

Relation = tuple[int, str, int]
Layers = list[Ground | Thing]


def relations_of(
  rng: np.random.Generator, landscape: Landscape, layers: Layers
) -> tuple[Relation, ...]:
  """At most MAX_RELATIONS true relations: those to what carries each thing, and random others."""
  ground_layer = [index for index, layer in enumerate(layers) if isinstance(layer, Ground)]
  grounds = [layer for layer in layers if isinstance(layer, Ground)]
  carried = [(index, layer) for index, layer in enumerate(layers) if isinstance(layer, Thing)]
  relations = []
  for index, thing in carried:
    carrier = ground_layer[thing.ground]
    relations.append((index, support_predicate(thing.name, layers[carrier].name), carrier))
  relations += [
    (ground_layer[subject], predicate, ground_layer[other])
    for subject, predicate, other in landscape.relations
  ]
  others = [
    relation
    for position, (index, thing) in enumerate(carried)
    for other_index, other in carried[position + 1 :]
    for relation in _between_things(index, thing, other_index, other)
  ]
  for index, thing in carried:
    others += _sea_nearby(grounds, ground_layer, index, thing)
  room = max(0, MAX_RELATIONS - len(relations))
  chosen = sorted(rng.permutation(len(others))[:room])
  return tuple(relations + [others[index] for index in chosen])


def _between_things(back_index: int, back: Thing, front_index: int, front: Thing) -> list[Relation]:
  """Relations of two things of which `front` was painted later."""
  gap_x = max(back.extent[0], front.extent[0]) - min(back.extent[2], front.extent[2])
  gap_y = max(back.extent[1], front.extent[1]) - min(back.extent[3], front.extent[3])
  narrower = min(back.extent[2] - back.extent[0], front.extent[2] - front.extent[0])
  if KINDS[back.name].sits != KINDS[front.name].sits:
    return []
  deeper = front.foot[1] - back.foot[1] > 0.02 or not KINDS[front.name].sits
  if gap_x < -0.3 * narrower and gap_y < 0 and deeper:
    return [(back_index, 'behind', front_index), (front_index, 'in front of', back_index)]
  close = gap_x < 0.14 and gap_y < 0 and abs(front.foot[1] - back.foot[1]) < 0.12
  if close and gap_x > -0.3 * narrower and back.ground == front.ground:
    return [(back_index, 'next to', front_index), (front_index, 'next to', back_index)]
  return []


def _sea_nearby(
  grounds: list[Ground], ground_layer: list[int], index: int, thing: Thing
) -> list[Relation]:
  """The sea behind a thing on the shore, or next to a thing on the land beside it."""
  land = grounds[thing.ground]
  sea = next((number for number, ground in enumerate(grounds) if ground.name == 'sea'), None)
  if sea is None or land.name in ('sea', 'sky', 'night sky') or not KINDS[thing.name].sits:
    return []
  sea_layer, sea_zone, land_zone = ground_layer[sea], grounds[sea].zones[0], land.zones[0]
  if sea_zone.bottom < land_zone.top:  # a band behind the land
    return [(sea_layer, 'behind', index)] if thing.extent[1] < sea_zone.bottom else []
  left, right = land_zone.span(thing.foot[1])
  distance = thing.extent[0] - left if left > 0 else right - thing.extent[2]
  if distance >= 0.2:
    return []
  return [(sea_layer, 'next to', index), (index, 'next to', sea_layer)]
