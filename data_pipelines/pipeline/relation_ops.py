"""The triples of a visit: random ones named by the geometry of the scene, or stored relations.

`scene_graphs/geometry.py` has the geometric rule in NumPy; here it is in TensorFlow.

Slot 0 of the padded arrays is `__image__`, which takes no part: objects are the slots 1..O-1, and
S = O - 1.
"""

# The stubs of TensorFlow know no slices with `...`.
# pyright: reportArgumentType=false, reportOptionalOperand=false

from data_pipelines.pipeline.tensorflow_quietly import tf
from data_pipelines.scene_graphs.geometry import contains


def _mask_centres_tf(boxes: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
  masks = tf.cast(masks, tf.float32)
  position = tf.range(masks.shape[-1], dtype=tf.float32)
  extent = tf.reduce_sum(masks, (-2, -1))[..., None] * max(masks.shape[-1] - 1, 1)
  moments = tf.stack(
    [
      tf.linalg.matvec(tf.reduce_sum(masks, -2), position),
      tf.linalg.matvec(tf.reduce_sum(masks, -1), position),
    ],
    -1,
  )
  share = tf.where(extent > 0, moments / tf.maximum(extent, 1), 0.5)
  return boxes[..., :2] + share * (boxes[..., 2:] - boxes[..., :2])


def _geometric_predicate_tf(subject_box, object_box, subject_centre, object_centre) -> tf.Tensor:
  dx, dy = tf.unstack(subject_centre - object_centre, axis=-1)
  left = (dx < 0) & (tf.abs(dy) <= -dx)
  above = (dy < 0) & (tf.abs(dx) < -dy)
  right = (dx >= 0) & (-dx <= dy) & ((dy < dx) | (dy == 0))
  direction = tf.where(left, 0, tf.where(above, 2, tf.where(right, 1, 3)))
  is_outer = contains(subject_box, object_box, tf.reduce_all)
  is_inner = contains(object_box, subject_box, tf.reduce_all)
  return tf.where(is_outer, 5, tf.where(is_inner, 4, direction))


def random_geometric(
  boxes: tf.Tensor,
  masks: tf.Tensor | None,
  object_mask: tf.Tensor,
  uniform: tf.Tensor,
  predicate_ids: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
  """One triple for each object with another object; partner and order are chosen at random.

  Args:
    boxes: float32[B, O, 4].
    masks: uint8[B, O, M, M]; without masks, centres are the middles of the boxes.
    object_mask: bool[B, O].
    uniform: float32[B, S, 2] in [0, 1), which choose the partner and the order.
    predicate_ids: int32[6], the ids of `vocabulary.GEOMETRIC_PREDICATES`.

  Returns:
    triples: int32[B, S, 3] subject slot, predicate id, object slot.
    valid: bool[B, S]; an object that is alone in its image has no triple.
  """
  slots = tf.range(1, tf.shape(boxes)[1])
  num_others = tf.reduce_sum(tf.cast(object_mask[:, 1:], tf.int32), 1, keepdims=True) - 1
  partner = 1 + tf.cast(uniform[..., 0] * tf.cast(num_others, tf.float32), tf.int32)
  partner += tf.cast(partner >= slots, tf.int32)  # skips the object itself
  valid = object_mask[:, 1:] & (num_others > 0)
  partner = tf.where(valid, partner, 0)
  first = uniform[..., 1] < 0.5
  subject, object_ = tf.where(first, slots, partner), tf.where(first, partner, slots)
  centres = (
    (boxes[..., :2] + boxes[..., 2:]) / 2 if masks is None else _mask_centres_tf(boxes, masks)
  )
  predicate = _geometric_predicate_tf(
    *(
      tf.gather(values, index, batch_dims=1)
      for values in (boxes, centres)
      for index in (subject, object_)
    )
  )
  return tf.stack([subject, tf.gather(predicate_ids, predicate), object_], -1), valid


def mix(
  triples: tf.Tensor,
  valid: tf.Tensor,
  relations: tf.Tensor,
  num_relations: tf.Tensor,
  uniform: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Replaces a random triple by a stored relation of the object, at half of the visits.

  An object that is the subject of no stored relation keeps its random triple.

  Args:
    triples: int32[B, S, 3] one for each object, see `random_geometric`; valid: bool[B, S].
    relations: int32[B, R, 3] subject slot, predicate id, object slot.
    num_relations: int32[B], how many of them are real.
    uniform: float32[B, S, 2] in [0, 1), which choose the kind and the stored relation.

  Returns:
    triples: int32[B, S, 3]; valid: bool[B, S].
  """
  is_real = tf.sequence_mask(num_relations, tf.shape(relations)[1])
  slots = tf.range(1, tf.shape(triples)[1] + 1)
  is_subject = (relations[:, None, :, 0] == slots[:, None]) & is_real[:, None]  # bool[B, S, R]
  rank = tf.cumsum(tf.cast(is_subject, tf.int32), -1)
  count = rank[..., -1]
  chosen_rank = 1 + tf.cast(uniform[..., 1] * tf.cast(count, tf.float32), tf.int32)
  position = tf.argmax(tf.cast(is_subject & (rank == chosen_rank[..., None]), tf.int32), -1)
  use_stored = (count > 0) & (uniform[..., 0] < 0.5)
  return tf.where(
    use_stored[..., None], tf.gather(relations, position, batch_dims=1), triples
  ), valid | use_stored


def subsample(
  relations: tf.Tensor,
  object_uniform: tf.Tensor,
  relation_uniform: tf.Tensor,
  max_objects: int,
  max_triples: int,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Chooses the objects of one scene that a visit keeps, and the relations between them.

  Where there are too many, the choice is random. Objects in relations come before those in none.

  Args:
    relations: int32[R, 3] subject index, predicate id, object index, without `__image__`.
    object_uniform: float32[N] in [0, 1), which choose the objects.
    relation_uniform: float32[R] in [0, 1), which choose the relations.
    max_objects: how many objects to keep at most, without `__image__`.
    max_triples: how many relations and objects to keep at most together, at least `max_objects`.

  Returns:
    kept: int32[min(N, max_objects)], indices of objects, ascending.
    relations: int32[at most R, 3] in their order, with indices into `kept`.
  """
  indices = tf.range(tf.size(object_uniform))
  is_related = tf.reduce_any(relations[:, ::2, None] == indices, (0, 1))
  kept = _least(tf.where(is_related, object_uniform, 1 + object_uniform), max_objects)
  is_kept = tf.reduce_any(kept[:, None] == indices, 0)
  new_indices = tf.cumsum(tf.cast(is_kept, tf.int32)) - 1
  stays = tf.reduce_all(tf.gather(is_kept, relations[:, ::2]), 1)
  subject, predicate, object_ = tf.unstack(tf.boolean_mask(relations, stays), axis=1)
  relations = tf.stack(
    [tf.gather(new_indices, subject), predicate, tf.gather(new_indices, object_)], 1
  )
  chosen = _least(tf.boolean_mask(relation_uniform, stays), max_triples - tf.size(kept))
  return kept, tf.gather(relations, chosen)


def _least(values: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
  """int32[min(count, size)]: positions of the least values, ascending."""
  return tf.sort(tf.argsort(values, stable=True)[:count])


def with_in_image_triples(
  triples: tf.Tensor, valid: tf.Tensor, object_mask: tf.Tensor, max_triples: int
) -> tuple[tf.Tensor, tf.Tensor]:
  """The valid triples, then `(object, __in_image__, __image__)` for each object, then zeros.

  Args:
    triples: int32[B, R, 3]; valid: bool[B, R].
    object_mask: bool[B, O].
    max_triples: T, large enough for all of them.

  Returns:
    triples: int32[B, T, 3]; triple_mask: bool[B, T].
  """
  batch_size, num_slots = tf.unstack(tf.shape(object_mask))
  in_image = tf.pad(tf.range(1, num_slots)[:, None], [[0, 0], [0, 2]])
  triples = tf.concat([triples, tf.broadcast_to(in_image, [batch_size, num_slots - 1, 3])], 1)
  valid = tf.concat([valid, object_mask[:, 1:]], 1)
  order = tf.argsort(tf.cast(valid, tf.int32), direction='DESCENDING', stable=True)[:, :max_triples]
  triples = tf.gather(tf.where(valid[..., None], triples, 0), order, batch_dims=1)
  triple_mask = tf.sequence_mask(tf.reduce_sum(tf.cast(valid, tf.int32), 1), max_triples)
  return tf.pad(triples, [[0, 0], [0, max_triples - tf.shape(triples)[1]], [0, 0]]), triple_mask
