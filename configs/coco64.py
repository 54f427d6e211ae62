"""COCO-Stuff at 64x64: the paper's main model, and the base from which every other config derives.

  python -m sg2im_jax.train --config=configs/coco64.py --workdir=runs/coco64 \\
      --config.data.source_dir=datasets/coco

Hyper-parameters are those of the published checkpoint (Johnson et al. 2018, section 4 and its
released code).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.seed = 0
  config.num_steps = 1_000_000
  config.batch_size = 32  # images over all devices together
  # Of the networks' activations: float32 | bfloat16; parameters and losses are float32.
  config.dtype = 'float32'
  # Recompute the activations of refinement modules for the gradient instead of keeping them: less
  # memory, more time.
  config.rematerialize = False
  # Steps per XLA call, which hides host overhead where a step takes less than a few milliseconds.
  # num_steps and every *_every must be multiples.
  config.steps_per_dispatch = 1

  config.data = ConfigDict()
  config.data.name = 'coco_stuff'  # storybook | coco_stuff | coco_panoptic | visual_genome | scenes
  config.data.source_dir = 'datasets/coco'  # the official files: annotations/*.json and images/
  config.data.data_dir = 'datasets/prepared'  # where the prepared records are written and read
  config.data.image_size = (64, 64)  # height, width in pixels
  config.data.mask_size = 16  # side M of the stored object masks
  config.data.max_objects = 9  # object slots O of a scene, with __image__
  config.data.max_triples = 16  # triple slots T, with the __in_image__ triples
  config.data.max_attributes = 0  # attribute slots A of an object; published models have none
  config.data.relations = 'geometric'  # each visit's triples: geometric | stored | mixed | none
  config.data.flip = False  # mirror half of the training visits
  # Where a scene has more objects, a visit takes max_objects - 1 of them at random.
  config.data.subsample = False
  # Filters of the data set. Other values make another prepared configuration.
  config.data.options = ConfigDict()
  # The images to train and to validate on: stuff40k | all | auto (stuff40k where its lists are
  # there, else all). stuff40k: those with stuff annotations in 2017 (40K of train2017, the 5K of
  # val2017), of which the filter leaves the paper's 24,972 for training. Their ids are in
  # annotations/deprecated-challenge2017/{train,val}-ids.txt of stuff_annotations_trainval2017.zip;
  # that those lists are the split of 2017 is what a maintainer of COCO-Stuff and later papers say,
  # the count of 24,972 has not been checked here. all: the 118K of train2017.
  config.data.options.train_images = 'auto'
  # names of the things to keep, such as ('sheep', 'cow'); () for all
  config.data.options.instance_whitelist = ()
  config.data.options.stuff_whitelist = ()  # likewise of the stuff
  config.data.options.include_other = False  # keep the stuff class "other"
  config.data.options.keep_crowds = True  # keep regions that are annotated as a crowd of things
  config.data.options.min_object_area = 0.02  # share of the image that an object's box must exceed
  config.data.options.min_objects = 3
  config.data.options.max_objects = 8  # without __image__
  # The first images of val2017 that pass the filter are split `val`, the others `test`.
  config.data.options.num_val = 1024

  config.model = ConfigDict()
  config.model.embedding_dim = 128
  config.model.gconv_dim = 128
  config.model.gconv_hidden_dim = 512
  config.model.gconv_num_layers = 5
  config.model.gconv_pooling = 'avg'  # avg | sum
  config.model.mlp_normalization = 'none'  # none | batch
  # Mean of the box head's initial biases. At 0, as published, coordinates can start dead behind
  # the head's last ReLU: 0 for every object, without a gradient, until the other losses have moved
  # the object vectors. Of 40 seeds 27 start with one or more, one with all four, here as in the
  # published code. The configs with published results stay as published, and training warns of
  # coordinates that stay 0; the others (panoptic, own scenes, storybook) start at 0.5.
  config.model.initial_box = 0.0
  config.model.mask_size = 16  # a power of two; 0: no mask head, boxes alone make the layout
  # Of layouts and crops. False is the default of PyTorch since 1.3, and so of the same code there.
  config.model.align_corners = True
  config.model.layout_noise_dim = 32
  config.model.refinement_dims = (1024, 512, 256, 128, 64)
  config.model.normalization = 'batch'  # batch | instance | none
  config.model.activation = 'leakyrelu-0.2'

  # Of token models, which sample layouts and appearances; configs/coco64_tokens.py names the
  # settings. None: the published model, which predicts one layout of a graph.
  config.tokens = None

  config.image_discriminator = ConfigDict()
  config.image_discriminator.enabled = True
  config.image_discriminator.arch = 'C4-64-2,C4-128-2,C4-256-2'
  config.image_discriminator.normalization = 'batch'
  config.image_discriminator.activation = 'leakyrelu-0.2'
  config.image_discriminator.padding = 'valid'  # valid | same

  config.object_discriminator = config.image_discriminator.copy_and_resolve_references()
  config.object_discriminator.crop_size = 32  # pixels
  # End in the paper's 1x1 convolution to one score, which the published code has but never applies.
  config.image_discriminator.classifier = False

  config.losses = ConfigDict()
  config.losses.gan_type = 'gan'  # gan | lsgan | wgan
  config.losses.l1_pixel_weight = 1.0
  config.losses.bbox_weight = 10.0
  config.losses.mask_weight = 0.1
  config.losses.predicate_weight = 0.0
  config.losses.gan_weight = 0.01  # of both discriminators in the generator's loss
  config.losses.image_gan_weight = 1.0  # times gan_weight
  config.losses.object_gan_weight = 1.0  # times gan_weight
  # Of the object discriminator's class loss in the generator's loss.
  config.losses.auxiliary_class_weight = 0.1
  # Of token models: pixels of the sprites before refinement, differences between neighbouring
  # pixels, KL divergence of an object's latent from N(0, 1), features of the discriminator.
  config.losses.composite_weight = 0.0
  config.losses.l1_gradient_weight = 0.0
  config.losses.divergence_weight = 0.0
  config.losses.feature_matching_weight = 0.0

  config.sampling = ConfigDict()
  # Stretch each picture to the full range of values, as published sampling does; that changes its
  # colours.
  config.sampling.stretch = False

  config.optimizer = ConfigDict()
  config.optimizer.learning_rate = 1e-4
  config.optimizer.schedule = 'constant'  # constant | cosine (down to 0 at num_steps)
  config.optimizer.b1 = 0.9
  config.optimizer.b2 = 0.999
  config.optimizer.eps = 1e-8
  # Steps; then the generator's batch statistics are frozen and its Adam state is reset.
  config.freeze_batch_norm_after = 100_000

  config.log_every = 10  # steps
  config.eval_every = 10_000
  config.num_eval_examples = 1024
  # Network whose features validation computes KID from; efficientnet-lite0 and inception-2015 need
  # the extra [evaluate].
  config.eval_backbone = 'none'
  config.image_grid_every = 10_000
  config.checkpoint_every = 10_000
  config.keep_checkpoints = 3  # the newest; the best is kept besides
  # The metric of validation that decides on the best: any but sigma_x and sigma_area.
  config.best_metric = 'box_iou'
  return config
