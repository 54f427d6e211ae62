// The geometric relation of two objects: the rule of scene_graphs/geometry.py.

/** Mean position of a mask's pixels in the image; the middle of the box of an empty mask. */
export function centreOf([x0, y0, x1, y1], mask, size) {
  let [count, sumX, sumY] = [0, 0, 0];
  mask?.forEach((value, index) => {
    if (value <= 0.5) return;
    count += 1;
    sumX += index % size;
    sumY += Math.floor(index / size);
  });
  const extent = count * Math.max(size - 1, 1);
  const [shareX, shareY] = count ? [sumX / extent, sumY / extent] : [0.5, 0.5];
  return [x0 + shareX * (x1 - x0), y0 + shareY * (y1 - y0)];
}

/** The predicate that holds between two objects, of {box, centre}. */
export function predicateOf(subject, other) {
  if (contains(subject.box, other.box)) return 'surrounding';
  if (contains(other.box, subject.box)) return 'inside';
  const [dx, dy] = [0, 1].map((axis) => subject.centre[axis] - other.centre[axis]);
  if (dx < 0 && Math.abs(dy) <= -dx) return 'left of';
  if (dy < 0 && Math.abs(dx) < -dy) return 'above';
  if (dx >= 0 && -dx <= dy && (dy < dx || dy === 0)) return 'right of';
  return 'below';
}

const contains = (outer, inner) => (
  outer[0] < inner[0] && outer[1] < inner[1] && outer[2] > inner[2] && outer[3] > inner[3]);
