// What the studio's server does, done here: the same functions, by the model that the page holds.

import { centreOf, predicateOf } from './geometry.js';
import { known, run } from './model.js';
import { foldIn, keyOf, normal } from './noise.js';
import { nearest } from './names.js';
import { bytesOf, textOf } from './scene.js';

export const hasLanguage = false;
export const hasAnimation = false;

/** Unpacks the model and runs it once, so that the first picture comes soon. */
export const warmUp = () => generate({
  graph: { objects: described.objects.slice(0, 1) }, seed: 0, samples: MOST_AT_ONCE,
}).catch(() => {}); // it is told when a picture is asked for

const { model: described, latent_dim: latentDim, noise_dim: noiseDim, vocabulary } = known;
const [height, width] = described.image_size;
const maskSize = described.mask_size;
const MOST_AT_ONCE = 4; // pictures
const NEAREST = 3; // names

export const model = async () => described;
export const examples = async () => known.examples;
export const realScenes = async () => known.scenes;
export const exampleUrl = (index) => `data:image/png;base64,${known.pictures[index]}`;

export async function relations(subject, object) {
  const shares = new Map(known.relations[subject]?.[object] ?? []);
  const others = described.predicates.filter((name) => !shares.has(name));
  return [...shares, ...others.map((name) => [name, 0])].map(([name, share]) => ({ name, share }));
}

/** Pictures of a graph, as POST /api/generate answers. */
export async function generate(request) {
  const graph = checked(request.graph);
  const samples = [];
  for (let first = 0; first < request.samples; first += MOST_AT_ONCE) {
    const count = Math.min(MOST_AT_ONCE, request.samples - first);
    const outputs = await run('sample_given', inputsOf({ ...request, graph }, first, count));
    for (let row = 0; row < count; row++) samples.push(await sampleOf(graph, outputs, row, count));
  }
  const { fingerprint } = described;
  return { fingerprint, seed: request.seed, graph, samples };
}

/** The appearances of objects in a picture, as POST /api/encode answers. */
export async function encode(picture, boxes) {
  const file = await (await fetch(`data:image/png;base64,${picture}`)).blob();
  const size = { resizeWidth: width, resizeHeight: height, resizeQuality: 'high' };
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d');
  context.drawImage(await createImageBitmap(file, size), 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const { found_latents: latents, found_scene_latents: whole } = await run('encode', {
    pictures: tensor('uint8', data.filter((_, index) => index % 4 !== 3), [1, height, width, 3]),
    boxes: tensor('float32', Float32Array.from(boxes.flat()), [1, boxes.length, 4]),
  });
  return {
    picture: await pngOf(data),
    latents: boxes.map((_, index) => packed(part(latents.data, index, latentDim))),
    image_latents: packed(whole.data),
  };
}

/** The graph with all its keys; an error if it is none or has names that the model lacks. */
function checked(graph) {
  const { objects, relationships = [], attributes = [], scene = [] } = graph ?? {};
  if (!Array.isArray(objects) || !objects.length) throw new Error('the graph has no objects');
  if (objects.length > described.max_objects) {
    throw new Error(`the graph has ${objects.length} objects; expected ${described.max_objects} or fewer`);
  }
  const know = (kind, names, all) => {
    const unknown = names.find((name) => !all.includes(name));
    if (unknown === undefined) return;
    const near = nearest(unknown, all).slice(0, NEAREST).map((name) => `"${name}"`).join(', ');
    throw new Error(`unknown ${kind} name "${unknown}"; the nearest known names are ${near || 'none'}`);
  };
  know('object', objects, described.objects);
  know('relation', relationships.map((one) => one[1]), described.predicates);
  know('attribute', [...attributes.flat(), ...scene], described.attributes);
  return { objects, relationships, attributes, scene };
}

/** The inputs of a program for pictures `first`, `first` + 1, ... of a request; see programs.py. */
function inputsOf({ graph, seed, boxes, masks, latents, image_latents: whole, nearness }, first, rows) {
  const { objects, relationships, attributes, scene } = graph;
  const count = objects.length;
  const nan = (size) => Array(size).fill(NaN);
  const repeated = (type, values, ...dims) => {
    const data = new { int32: Int32Array, float32: Float32Array }[type](rows * values.length);
    for (let row = 0; row < rows; row++) data.set(values, row * values.length);
    return tensor(type, data, [rows, ...dims]);
  };
  const floats = (given, size) => Array.from({ length: count }, (_, index) => (
    given?.[index] == null ? nan(size) : [...numbersOf(given[index])])).flat();
  const ids = (names, kind) => names.map((name) => vocabulary[kind][name]);
  const inputs = {
    objects: repeated('int32', ids(objects, 'object_name_to_idx'), count),
    relationships: repeated('int32', [-1, -1, -1, ...relationships.flatMap((
      [subject, predicate, other]) => [subject, vocabulary.pred_name_to_idx[predicate], other])],
    relationships.length + 1, 3), // one that is padding, as none may be there
    boxes: repeated('float32', objects.flatMap((_, index) => boxes?.[index] ?? nan(4)), count, 4),
  };
  if (described.attributes.length) {
    const most = Math.max(1, scene.length, ...attributes.map((names) => names.length));
    const padded = (names = []) => (
      [...ids(names, 'attribute_name_to_idx'), ...Array(most - names.length).fill(-1)]);
    inputs.attributes = repeated(
      'int32', objects.flatMap((_, index) => padded(attributes[index])), count, most);
    inputs.scene = repeated('int32', padded(scene), most);
  }
  if (maskSize) {
    inputs.masks = repeated('float32', floats(masks, maskSize ** 2), count, maskSize, maskSize);
  }
  if (described.is_token_model) {
    inputs.latents = repeated('float32', floats(latents, latentDim), count, latentDim);
    inputs.scene_latents = repeated('float32', whole ? numbersOf(whole) : nan(latentDim), latentDim);
    inputs.nearness = repeated('float32', nearness ?? Array(count).fill(0), count);
  }
  return { ...inputs, ...noiseOf(seed, first, rows, count) };
}

/** What Generator.random_noise and TokenGenerator.random_noise draw. */
function noiseOf(seed, first, rows, count) {
  const keys = Array.from({ length: rows }, (_, row) => foldIn(foldIn(keyOf(seed), 0), first + row));
  const tokens = described.is_token_model;
  const joined = (parts) => {
    const data = new Float32Array(parts.length * parts[0].length);
    parts.forEach((values, index) => data.set(values, index * values.length));
    return data;
  };
  const noise = {};
  if (noiseDim) {
    const size = height * width * noiseDim;
    const data = joined(keys.map((key) => normal(tokens ? foldIn(key, 0) : key, size)));
    noise.pixel_noise = tensor('float32', data, [rows, height, width, noiseDim]);
  }
  if (tokens) {
    const slots = Array.from({ length: count + 1 }, (_, slot) => slot);
    const data = joined(keys.flatMap((key) => (
      slots.map((slot) => normal(foldIn(foldIn(key, 1), slot), 4 + latentDim)))));
    noise.token_noise = tensor('float32', data, [rows, count + 1, 4 + latentDim]);
  }
  return noise;
}

/** One picture and what is where in it, as the server has it. */
async function sampleOf({ objects, relationships }, outputs, row, rows) {
  const of = (name) => part(outputs[name].data, row, outputs[name].data.length / rows);
  const each = (name) => {
    const values = of(name);
    return objects.map((_, index) => part(values, index, values.length / objects.length));
  };
  const boxes = each('found_boxes').map((box) => [...box]);
  const masks = maskSize ? each('found_masks') : null;
  const things = boxes.map((box, index) => (
    { box, centre: centreOf(box, masks?.[index], maskSize) }));
  const pixels = of('pictures');
  const opaque = Uint8ClampedArray.from({ length: 4 * height * width }, (_, index) => (
    index % 4 === 3 ? 255 : pixels[3 * (index >> 2) + (index % 4)]));
  return {
    picture: await pngOf(opaque),
    boxes,
    masks: masks?.map(packed) ?? null,
    latents: described.is_token_model ? each('found_latents').map(packed) : null,
    image_latents: described.is_token_model ? packed(of('found_scene_latents')) : null,
    relations: relationships.map(([subject, predicate, other]) => {
      const found = subject === other ? null : predicateOf(things[subject], things[other]);
      const isTold = found !== null && known.geometric.includes(predicate);
      return { kept: isTold ? found === predicate : null, found };
    }),
  };
}

const tensor = (type, data, dims) => ({ type, data, dims });
const part = (values, index, size) => values.subarray(index * size, (index + 1) * size);

/** base64 of numbers, and numbers of base64. */
const packed = ({ buffer, byteOffset, byteLength }) => (
  textOf(new Uint8Array(buffer, byteOffset, byteLength)));
const numbersOf = (text) => new Float32Array(bytesOf(text).buffer);

/** A PNG file of RGBA, in base64. */
async function pngOf(data) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext('2d').putImageData(new ImageData(Uint8ClampedArray.from(data), width, height), 0, 0);
  const file = await canvas.convertToBlob({ type: 'image/png' });
  return textOf(new Uint8Array(await file.arrayBuffer()));
}
