from benchmarks.contestants import JaxTraining
from sg2im_jax.settings import Settings
from tests.small_scenes import tiny_config


def test_a_run_of_training_is_all_the_steps_of_a_dispatch():
  config = tiny_config()
  config.batch_size, config.steps_per_dispatch = 2, 3
  for name in ('num_steps', 'log_every', 'eval_every', 'image_grid_every', 'checkpoint_every'):
    config[name] = 3
  config.freeze_batch_norm_after = 3
  config.object_discriminator.enabled = config.image_discriminator.enabled = False
  config.model.mask_size, config.model.gconv_num_layers, config.model.refinement_dims = 0, 1, (4,)
  training = JaxTraining(Settings.from_config(config), num_devices=1)
  started = training.start()
  training.run(2)
  assert started.steps_per_run == 3 and started.compile_seconds > 0
  assert int(training._state.step) == 6
  assert training.peak_memory() > 2**20
