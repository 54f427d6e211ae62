from benchmarks.precision import table


def test_the_distance_of_means_is_in_units_of_the_spread():
  runs = {
    'float32': [{'l1_pixel': 1.0}, {'l1_pixel': 2.0}, {'l1_pixel': 3.0}],
    'bfloat16': [{'l1_pixel': 2.0}, {'l1_pixel': 2.5}, {'l1_pixel': 3.0}],
  }
  lines = table(runs).splitlines()
  assert lines[1].split() == ['float32', '0', '1.0000']
  assert lines[-1].split() == ['apart', '/', 'std', '0.50']  # means 2 and 2.5, deviations 1 and 0.5
