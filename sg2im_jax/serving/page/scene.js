// A scene, and what can be done to it: pure functions from a scene to the scene after.
//
// A scene is what the three views show. An object has tokens: `box`, and `latent` and `mask`, its
// look. null is open: the model samples it, around all that is there. So a change sets to null what
// it leaves open, and everything else stays as it is.
//
//   objects    [{key, name, attributes, box, latent, mask, level, pinned, free, x, y}]
//                mask: base64 of a byte a point, which is what a link can hold
//                level: seen before objects of its kind (things, grounds) that have a lower one;
//                  among equals the model decides, and things stay before grounds
//                pinned: the box was set by hand; free: open again at each change
//                x, y: of the node in the graph
//   relations  [{subject, predicate, other}], of keys
//   scene      attributes of the whole picture
//   imageLatent, seed
//   real       number of the real scene that this began as, whose objects had the keys 1, 2, ...
//   drawn      {asked, samples, chosen, keys}: the request, and what came of it

const SEED = 7; // whose four drawings have clear weather, by the model that is shipped

export const EMPTY = {
  objects: [], relations: [], scene: [], imageLatent: null, seed: SEED, real: null, drawn: null,
  nextKey: 1,
};

const OPEN = { box: null, latent: null, mask: null, pinned: false, level: 0 };
const OPEN_LOOK = { latent: null, mask: null };

/** Area of a box, as a share of the picture; 0 if it ends before it begins. */
export const areaOf = ([x0, y0, x1, y1]) => Math.max(0, x1 - x0) * Math.max(0, y1 - y0);

/** Area from which on a box is of a ground and not of a thing. */
export const LARGEST_THING = 0.35;
const NEARNESS = 5; // of a level; much more would show the rims of masks
const RIM = 0.02; // within which a box reaches a side of the picture
const MOST_LEVELS = 4;

/**
 * Whether a box is of a ground, such as sky or grass: it reaches two sides of the picture. What is
 * put behind a ground is lost but for a ghost of it.
 */
const isGround = ({ box }) => (
  box !== null && [box[0] < RIM, box[1] < RIM, box[2] > 1 - RIM, box[3] > 1 - RIM].filter(Boolean).length > 1);

const NODE_GAP = 80; // between the nodes of a row
const MOST_ROW = 680;

/** The text of an object's node, and the node's width. */
export const labelOf = ({ attributes, name }) => [...attributes, name].join(' ');
export const widthOf = (object) => Math.max(64, 7.4 * labelOf(object).length + 34);

export const find = (scene, key) => scene.objects.find((object) => object.key === key);
export const numberOf = (scene, key) => scene.objects.findIndex((object) => object.key === key);

const withObject = (scene, key, values) => ({
  ...scene,
  objects: scene.objects.map((one) => (one.key === key ? { ...one, ...values } : one)),
});

/** A place of the graph where no node is. */
function freePlace(scene) {
  for (let number = scene.objects.length; ; number++) {
    const place = { x: 90 + (number % 4) * 130, y: 50 + Math.floor(number / 4) * 80 };
    const near = (one) => Math.abs(one.x - place.x) < 60 && Math.abs(one.y - place.y) < 30;
    if (!scene.objects.some(near)) return place;
  }
}

/** One more object, with open tokens; its key is that of the last object. */
export function add(scene, name, values = {}) {
  const object = {
    key: scene.nextKey, name, attributes: [], ...OPEN, free: false, ...freePlace(scene), ...values,
  };
  return { ...scene, nextKey: scene.nextKey + 1, objects: [...scene.objects, object] };
}

export const remove = (scene, key) => ({
  ...scene,
  objects: scene.objects.filter((one) => one.key !== key),
  relations: scene.relations.filter((one) => one.subject !== key && one.other !== key),
});

export const rename = (scene, key, name) =>
  withObject(scene, key, { name, attributes: [], ...OPEN_LOOK });

/** A second one beside it, with its relations and a look of its own. */
export function duplicate(scene, key) {
  const of = find(scene, key);
  const copied = add(scene, of.name, { attributes: of.attributes, x: of.x + 40, y: of.y + 55 });
  const copy = copied.objects.at(-1).key;
  const relations = copied.relations
    .filter((one) => one.subject === key)
    .map((one) => ({ ...one, subject: copy }));
  return { ...copied, relations: [...copied.relations, ...relations] };
}

/** The attributes without this one, or with it and without those that it excludes. */
export function toggled(attributes, name, excluding) {
  if (attributes.includes(name)) return attributes.filter((one) => one !== name);
  const pairs = new Set(excluding.map((pair) => pair.join()));
  const fits = (one) => !pairs.has([one, name].join()) && !pairs.has([name, one].join());
  return [...attributes.filter(fits), name];
}

export const describe = (scene, key, attributes) =>
  withObject(scene, key, { attributes, ...OPEN_LOOK });

/**
 * Other attributes of the whole picture: all looks are open, boxes stay. `counterparts`, by class,
 * takes the place of classes that the attributes exclude: at night the sky is a night sky.
 */
export const describeWhole = (scene, attributes, counterparts) => ({
  ...scene,
  scene: attributes,
  imageLatent: null,
  objects: scene.objects.map((one) => {
    const name = counterparts[one.name];
    return { ...one, ...OPEN_LOOK, ...(name ? { name, attributes: [] } : {}) };
  }),
});

/** The subject finds another place, unless it is pinned. */
const placeAgain = (scene, key) =>
  withObject(scene, key, find(scene, key).pinned ? {} : { box: null });

export function relate(scene, subject, predicate, other) {
  const relations = scene.relations.filter((one) => !isBetween(one, subject, other));
  return placeAgain({ ...scene, relations: [...relations, { subject, predicate, other }] }, subject);
}

const isBetween = (one, subject, other) =>
  (one.subject === subject && one.other === other)
  || (one.subject === other && one.other === subject);

export function setPredicate(scene, index, predicate, { place = true } = {}) {
  const relations = scene.relations.map((one, i) => (i === index ? { ...one, predicate } : one));
  const changed = { ...scene, relations };
  return place ? placeAgain(changed, relations[index].subject) : changed;
}

export const unrelate = (scene, index) => ({
  ...scene, relations: scene.relations.filter((_, i) => i !== index),
});

export const move = (scene, key, box) => withObject(scene, key, { box, pinned: true });
export const release = (scene, key) => withObject(scene, key, { box: null, pinned: false });
export const setFree = (scene, key, free) => withObject(scene, key, { free });
export const placeNode = (scene, key, x, y) => withObject(scene, key, { x, y });

/** Before all others of its kind, things or grounds, or behind them, where they overlap. */
export function order(scene, key, isFront) {
  const object = find(scene, key);
  const peers = scene.objects.filter((one) => isGround(one) === isGround(object));
  const others = peers.filter((one) => one !== object).map((one) => one.level);
  const level = isFront ? Math.max(0, ...others) + 1 : Math.min(0, ...others) - 1;
  const levelOf = (one) => (one === object ? level : one.level);
  const known = [...new Set(peers.map(levelOf))].sort((one, other) => one - other);
  return {
    ...scene,
    objects: scene.objects.map((one) => (!peers.includes(one) ? one : {
      ...one, level: Math.min(known.indexOf(levelOf(one)), MOST_LEVELS) })),
  };
}

/** What is added to how near the model takes each object to be. */
function nearnessOf(objects) {
  const highest = Math.max(0, ...objects.filter(isGround).map((one) => one.level));
  return objects.map((one) => NEARNESS * (one.level + (isGround(one) ? 0 : highest)));
}

/** Another look of one object, in its place. */
export const roll = (scene, key) =>
  ({ ...withObject(scene, key, OPEN_LOOK), seed: scene.seed + 1 });

export const lookLike = (scene, key, other) =>
  withObject(scene, key, { latent: find(scene, other).latent, mask: null });

export const wear = (scene, key, latent) => withObject(scene, key, { latent, mask: null });

/** An object with everything open, but for a box that is pinned. */
const opened = (one) => ({ ...one, ...OPEN_LOOK, box: one.pinned ? one.box : null });

/** Everything open but pinned boxes. */
export const drawAnew = (scene, seed = scene.seed + 1) => ({
  ...scene,
  seed,
  imageLatent: null,
  objects: scene.objects.map(opened),
});

/** Boxes of the real scene, and its appearance if given, for its objects that are still there. */
export const likeReal = (scene, boxes, encoded = null) => ({
  ...scene,
  imageLatent: encoded?.image_latents ?? null,
  objects: scene.objects.map((one) => (one.key > boxes.length ? one : {
    ...one,
    ...OPEN_LOOK,
    box: boxes[one.key - 1],
    pinned: true,
    latent: encoded?.latents[one.key - 1] ?? null,
  })),
});

/** Objects that are free are open again. */
const withFreeOpen = (scene) => ({
  ...scene,
  objects: scene.objects.map((one) => (one.free ? opened(one) : one)),
});

/** The graph as `sample` reads it. */
export function toGraph(scene) {
  const numbers = new Map(scene.objects.map((one, index) => [one.key, index]));
  const graph = {
    objects: scene.objects.map((one) => one.name),
    relationships: scene.relations.map(
      (one) => [numbers.get(one.subject), one.predicate, numbers.get(one.other)]),
  };
  if (scene.objects.some((one) => one.attributes.length)) {
    graph.attributes = scene.objects.map((one) => one.attributes);
  }
  if (scene.scene.length) graph.scene = scene.scene;
  return graph;
}

/** A scene of a graph; what it has in common with `before`, from the first object on, stays. */
export function fromGraph(graph, before = EMPTY) {
  const same = (graph.scene ?? []).join() === before.scene.join();
  let scene = {
    ...EMPTY, seed: before.seed, real: before.real, nextKey: before.nextKey, scene: graph.scene ?? [],
    imageLatent: same ? before.imageLatent : null,
  };
  let keeps = same;
  graph.objects.forEach((name, index) => {
    const attributes = graph.attributes?.[index] ?? [];
    const old = before.objects[index];
    keeps &&= old?.name === name && old.attributes.join() === attributes.join();
    scene = keeps
      ? { ...scene, objects: [...scene.objects, old] }
      : add(scene, name, { attributes });
  });
  const key = (index) => scene.objects[index].key;
  const relations = graph.relationships.map(([subject, predicate, other]) => (
    { subject: key(subject), predicate, other: key(other) }));
  scene = { ...scene, relations };
  const known = new Set(before.relations.map((one) => JSON.stringify(one)));
  for (const one of relations) {
    if (!known.has(JSON.stringify(one))) scene = placeAgain(scene, one.subject);
  }
  return before.objects.length ? scene : tidy(scene);
}

const widthOfRow = (row) => (
  row.reduce((sum, one) => sum + widthOf(one), NODE_GAP * (row.length - 1)));

/** A row of nodes as several that are not too wide. */
function lines(row) {
  const found = [[]];
  for (const one of row) {
    if (found.at(-1).length && widthOfRow([...found.at(-1), one]) > MOST_ROW) found.push([]);
    found.at(-1).push(one);
  }
  return found;
}

/** Nodes in rows: what stands on nothing at the bottom, what relates to it above. */
export function tidy(scene) {
  const depth = new Map(scene.objects.map((one) => [one.key, 0]));
  for (let round = 0; round < scene.objects.length; round++) {
    for (const { subject, other } of scene.relations) {
      const wanted = depth.get(other) + 1;
      if (depth.get(subject) < wanted && wanted < 4) depth.set(subject, wanted);
    }
  }
  const rows = [];
  for (const one of scene.objects) (rows[depth.get(one.key)] ??= []).push(one);
  const places = new Map();
  const middle = ({ key }) => { // of what is below and related to it
    const below = scene.relations.flatMap(({ subject, other }) => (
      subject === key && places.has(other) ? [places.get(other).x] : []));
    return below.length ? below.reduce((sum, x) => sum + x, 0) / below.length : 320;
  };
  rows.filter(Boolean).flatMap(lines).forEach((row, line) => {
    const order = new Map(row.map((one) => [one, middle(one)]));
    row.sort((one, other) => order.get(one) - order.get(other));
    let left = 320 - widthOfRow(row) / 2 + (line % 2) * 40;
    for (const one of row) {
      places.set(one.key, { x: left + widthOf(one) / 2, y: 400 - line * 105 });
      left += widthOf(one) + NODE_GAP;
    }
  });
  return { ...scene, objects: scene.objects.map((one) => ({ ...one, ...places.get(one.key) })) };
}

/** What the server is asked for. */
export function toRequest(scene, samples) {
  const { objects, imageLatent, seed } = withFreeOpen(scene);
  const open = imageLatent === null
    || objects.some((one) => one.box === null || one.latent === null || one.mask === null);
  return {
    graph: toGraph(scene),
    seed,
    samples: open ? samples : 1,
    boxes: objects.map((one) => one.box),
    latents: objects.map((one) => one.latent),
    masks: objects.map((one) => (one.mask === null ? null : unpackedMask(one.mask))),
    image_latents: imageLatent,
    ...(objects.some((one) => one.level)
      ? { nearness: nearnessOf(objects) } : {}),
  };
}

/**
 * The scene with what was drawn: `keys` are those of the objects when it was asked for. The best
 * drawing is chosen unless one is named.
 */
export function withDrawings(scene, asked, answer, keys, chosen = best(asked, answer)) {
  return choose({ ...scene, drawn: { asked, samples: answer.samples, chosen, keys } }, chosen);
}

/** The number of the drawing with the fewest broken relations and hidden things together. */
function best({ graph }, { samples }) {
  const scores = samples.map(({ boxes, relations }) => (
    relations.filter((one) => one.kept === false).length + hidden(boxes, graph.relationships)));
  return scores.indexOf(Math.min(...scores));
}

/**
 * How many things others hide, by the shares of their boxes that meet. Grounds hide nothing, and
 * things that are related may be before each other.
 */
function hidden(boxes, relationships) {
  const related = new Set(relationships.flatMap(([one, , other]) => [`${one} ${other}`, `${other} ${one}`]));
  let total = 0;
  boxes.forEach((one, index) => boxes.slice(0, index).forEach((other, before) => {
    const areas = [one, other].map(areaOf);
    if (Math.max(...areas) >= LARGEST_THING || related.has(`${index} ${before}`)) return;
    const common = areaOf([...[0, 1].map((side) => Math.max(one[side], other[side])),
      ...[2, 3].map((side) => Math.min(one[side], other[side]))]);
    total += common / Math.max(1e-6, Math.min(...areas));
  }));
  return total;
}

/** Of a mask as the server sends it, float32 in base64: the same with a byte for 0 to 1. */
export function packedMask(text) {
  const values = new Float32Array(bytesOf(text).buffer);
  return textOf(Uint8Array.from(values, (value) => Math.round(255 * value)));
}

export function unpackedMask(text) {
  const values = Float32Array.from(bytesOf(text), (byte) => byte / 255);
  return textOf(new Uint8Array(values.buffer));
}

/** Bytes of base64, and back. */
export const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

export function textOf(bytes) {
  let letters = '';
  for (const byte of bytes) letters += String.fromCharCode(byte);
  return btoa(letters);
}

/** Another one of the drawings. */
export function choose(scene, chosen) {
  const { samples, keys } = scene.drawn;
  const sample = samples[chosen];
  const objects = scene.objects.map((one) => {
    const index = keys.indexOf(one.key);
    return index < 0 ? one : {
      ...one,
      box: sample.boxes[index],
      latent: sample.latents?.[index] ?? null,
      mask: sample.masks ? packedMask(sample.masks[index]) : null,
    };
  });
  return { ...scene, objects, imageLatent: sample.image_latents, drawn: { ...scene.drawn, chosen } };
}

/** What was drawn, or undefined. */
export const drawing = (scene) => scene.drawn?.samples[scene.drawn.chosen];

/** Of each relation, {kept, found} in the drawing; undefined where it was not drawn yet. */
export function verdicts(scene) {
  const drawn = drawing(scene);
  if (!drawn) return scene.relations.map(() => undefined);
  const { keys, asked } = scene.drawn;
  const text = ([subject, predicate, other]) => `${keys[subject]} ${predicate} ${keys[other]}`;
  const found = new Map(
    asked.graph.relationships.map((one, index) => [text(one), drawn.relations[index]]));
  return scene.relations.map(
    (one) => found.get(`${one.subject} ${one.predicate} ${one.other}`));
}
