"""What is evaluated and how: two figures compare only where all of this is the same."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Protocol:
  """The choices of an evaluation, apart from the model and the backbone.

  Attributes:
    split: whose graphs and images: train, val or test.
    num_graphs: from the start of the split; None for all.
    image_ids: the images to take of the split; None for all. With num_graphs the first of these.
    samples_per_graph: pictures drawn of each graph, S.
    boxes: predicted | ground_truth: where objects are painted.
    masks: predicted | ground_truth: in what shape.
    stretch: see `images.denormalize`; None for what the model's config says.
    image_size: height and width that drawn and real images are brought to before the backbone; None
    for the model's.
    num_splits: of the Inception score.
    seed: of the noise, of relations that are drawn, of the subsets of KID and of the classifiers.
  """

  split: str = 'val'
  num_graphs: int | None = None
  image_ids: tuple[str, ...] | None = None
  samples_per_graph: int = 5
  boxes: str = 'predicted'
  masks: str = 'predicted'
  stretch: bool | None = None
  image_size: tuple[int, int] | None = None
  num_splits: int = 5
  seed: int = 0
