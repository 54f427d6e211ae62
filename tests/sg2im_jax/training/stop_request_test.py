import os
import signal

import pytest

from sg2im_jax.training.stop_request import StopRequest


def test_a_signal_is_noted_and_the_handlers_come_back(capfd):
  before = signal.getsignal(signal.SIGTERM)
  with StopRequest() as stop:
    assert not stop.agree() and stop.exit_status == 0
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.agree() and stop.exit_status == 143
  assert signal.getsignal(signal.SIGTERM) == before
  assert (
    capfd.readouterr().out
    == 'SIGTERM: saving after this step; once more to leave at once without saving\n'
  )


@pytest.mark.parametrize('heard', [signal.SIGINT, signal.SIGTERM])
def test_processes_agree_on_what_one_of_them_heard(monkeypatch, heard):
  monkeypatch.setattr('sg2im_jax.runtime.hosts.largest', lambda own: max(own, heard))
  stop = StopRequest()
  assert stop.agree() and (stop.signal, stop.exit_status) == (heard, 128 + heard)
