"""COCO-Stuff at 64x64, with object tokens: layouts and appearances are sampled, not averaged.

  python -m sg2im_jax.train --config=configs/coco64_tokens.py --workdir=runs/coco64_tokens \\
      --config.data.source_dir=datasets/coco

Its data is that of coco64. Names every setting of `tokens`.
"""

# The attributes of a ConfigDict have no types.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from ml_collections import ConfigDict

from data_pipelines.configs import coco64


def get_config() -> ConfigDict:
  return with_tokens(coco64.get_config())


def with_tokens(config: ConfigDict) -> ConfigDict:
  """The config of a token model on the data of a published model's config."""
  # One discriminator takes the place of the two published ones.
  config.image_discriminator.enabled = False
  config.object_discriminator.enabled = False

  config.tokens = ConfigDict()
  config.tokens.latent_dim = 64  # L, numbers that say the appearance of an object
  config.tokens.encoder_dims = (64, 128, 256)  # channels; each convolution halves the crop
  config.tokens.crop_size = 32  # pixels of the crops that are encoded
  # Channels of the sprites that objects grow, at 4x4, 8x8 and so on up to model.mask_size.
  config.tokens.sprite_dims = (256, 256, 128, 64)
  config.tokens.num_colours = 8  # of the palette of an object
  config.tokens.texture_dim = 24  # features of a sprite beside mask and colours
  config.tokens.vector_dim = 128  # D, of the vectors that objects are painted from
  config.tokens.discriminator_dims = (64, 128, 256)  # channels; each convolution halves the image
  config.tokens.discriminator_learning_rate = 4e-4
  # Share of the training images that are painted from the masks that objects grow, as in sampling;
  # the others from those of the data.
  config.tokens.painted_from_own_masks = 0.5
  # Standard deviation of the edges of grounds in training, as a share of the image's side.
  config.tokens.box_jitter = 0.04
  # Share of the training images that are painted without attributes; of half of the others, a
  # random part is dropped.
  config.tokens.dropped_attributes = 0.5
  config.tokens.ema_decay = 0.999  # of the average of encoder and painter that is sampled from

  config.tokens.prior = ConfigDict()
  config.tokens.prior.features = 384
  config.tokens.prior.num_blocks = 6
  config.tokens.prior.scenes_per_image = 4  # times that a step shows each scene to the prior
  config.tokens.prior.learning_rate = 4e-4
  config.tokens.prior.box_weight = 5.0  # of a box's squared errors
  config.tokens.prior.latent_weight = 0.5  # of a latent's
  config.tokens.prior.dropped_relations = 0.1  # share of scenes without relations, for guidance
  config.tokens.prior.dropped_attributes = 0.2  # share without attributes, as of the painter
  config.tokens.prior.pinned_scenes = 0.3  # share of scenes of which some objects are given
  config.tokens.prior.ema_decay = 0.9995
  config.tokens.prior.guidance = 2.75  # of relations in sampling; 1 is none
  config.tokens.prior.attribute_guidance = 2.5  # of attributes, likewise
  config.tokens.prior.sampling_steps = 8  # velocities; twice as many with guidance

  config.data.mask_size = 32 if config.data.mask_size is not None else None
  config.model.mask_size = 32
  config.model.gconv_num_layers = 2
  config.model.layout_noise_dim = 0  # latents say all that is random; noise stays in the picture
  config.losses.mask_weight = 2.0 if config.data.mask_size is not None else 0.0
  config.losses.bbox_weight = 0.0  # the prior learns boxes
  config.losses.gan_weight = 0.02
  config.losses.composite_weight = 0.5
  config.losses.l1_gradient_weight = 1.0
  config.losses.divergence_weight = 1e-3
  config.losses.feature_matching_weight = 1.0
  config.optimizer.learning_rate = 4e-4
  config.optimizer.b1 = 0.5
  config.optimizer.b2 = 0.99
  config.best_metric = 'relation_accuracy'
  return config
