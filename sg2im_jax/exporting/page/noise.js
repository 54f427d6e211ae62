// The random numbers of JAX, so that a seed gives the same picture here as in Python.
//
// Threefry-2x32 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), keyed and
// counted as jax.random does with partitionable keys.

const ROTATIONS = [[13, 15, 26, 6], [17, 29, 16, 24]];
const PARITY = 0x1bd11bda;

/** 20 rounds over the two words of a count; a key is two words, too. */
function threefry([key0, key1], count0, count1) {
  const keys = [key0, key1, key0 ^ key1 ^ PARITY];
  let x = (count0 + keys[0]) | 0;
  let y = (count1 + keys[1]) | 0;
  for (let round = 0; round < 5; round++) {
    for (const rotation of ROTATIONS[round % 2]) {
      x = (x + y) | 0;
      y = ((y << rotation) | (y >>> (32 - rotation))) ^ x;
    }
    x = (x + keys[(round + 1) % 3]) | 0;
    y = (y + keys[(round + 2) % 3] + round + 1) | 0;
  }
  return [x, y];
}

export const keyOf = (seed) => [0, seed];
/** jax.random.fold_in; key number i of jax.random.split is the same. */
export const foldIn = (key, number) => threefry(key, 0, number);

/** float32[count] of N(0, 1), as jax.random.normal. */
export function normal(key, count) {
  const word = new Uint32Array(1);
  const unit = new Float32Array(word.buffer);
  const least = Math.fround(-1 + 2 ** -24);
  return Float32Array.from({ length: count }, (_, index) => {
    const [high, low] = threefry(key, 0, index);
    word[0] = ((high ^ low) >>> 9) | 0x3f800000; // a float from 1 to 2
    const uniform = Math.max(least, Math.fround(Math.fround(unit[0] - 1) * 2 + least));
    return Math.SQRT2 * inverseErf(uniform);
  });
}

// Giles, "Approximating the erfinv function" (2010), table 1, single precision; as XLA has it.
const CENTRAL = [2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
  -0.00125372503, -0.00417768164, 0.246640727, 1.50140941];
const TAIL = [-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
  -0.0076224613, 0.00943887047, 1.00167406, 2.83297682];

function inverseErf(x) {
  const w = -Math.log1p(-x * x);
  const [coefficients, at] = w < 5 ? [CENTRAL, w - 2.5] : [TAIL, Math.sqrt(w) - 3];
  return x * coefficients.reduce((sum, coefficient) => sum * at + coefficient);
}
