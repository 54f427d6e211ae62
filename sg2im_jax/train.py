"""Trains a model, from the newest checkpoint of the work directory if there is one.

  python -m sg2im_jax.train --config=configs/storybook.py --workdir=runs/storybook

--config names one of the files in configs/, which tell what data and how much time they need. Every
setting in it can be overridden by its dotted name; configs/coco64.py lists and explains all of
them:

  --config.batch_size=16 --config.num_steps=10000 --config.optimizer.learning_rate=2e-4
  --config.data.source_dir=datasets/coco --config.data.image_size=128,128

The data set is prepared first if it has not been. Everything is checked before the work directory
changes, and one training at a time can use it. What is written:

  WORKDIR/checkpoints/STEP/   the newest ones and the best; `python -m sg2im_jax.sample` reads them
  WORKDIR/metrics.jsonl       losses of training; of validation: losses, scores of layouts, and KID
                              with --config.eval_backbone
  WORKDIR/tensorboard/        the same as curves, and pictures of validation scenes
  WORKDIR/config.json, vocabulary.json

Ctrl-C and SIGTERM save and end the training, with exit status 130 and 143; a second Ctrl-C ends it
at once. The same command continues with the very next batch.

All devices of this machine take part. For those of several machines start the same command once on
each: with --multi_host where SLURM, Open MPI, GKE or a TPU slice names the processes in the
environment, elsewhere with

  --coordinator_address=FIRST_HOST:8476 --num_processes=2 --process_id=0   (on the other host 1)

The work directory must be on a disk that all of them share. Data sets may be, or each host prepares
its own. The first process prints and writes logs. A signal to any process stops all of them when
the next metrics are printed. When a process dies, the others end with an error of jax.distributed,
at the latest when its heartbeat has been missing for 100 seconds; start all of them again to
continue from the newest checkpoint.
"""

from ml_collections import ConfigDict
from pydantic import Field

from sg2im_jax.runtime import command_line, hosts


class TrainOptions(hosts.HostOptions):
  """The flags of the command beside --config."""

  workdir: str = Field(description='Where checkpoints and logs are written, and continued.')


def train(options: TrainOptions, config: ConfigDict) -> int:
  from sg2im_jax.training import loop  # TensorFlow takes seconds
  from sg2im_jax.training.stop_request import StopRequest

  with StopRequest() as stop:
    loop.train(config, options.workdir, stop=stop)
  return stop.exit_status


def main():
  command_line.run_with_config(TrainOptions, train, doc=__doc__)


if __name__ == '__main__':
  main()
