// The exported model: what it knows, and its programs, which are unpacked and run in a worker.

const read = (id) => document.getElementById(id).textContent;

/** What the export wrote about the model, see exporting/page.py. */
export const known = JSON.parse(read('known'));

const waiting = new Map();
let worker;
let asked = 0;

/** The outputs of a program by name: {data, dims} each. Inputs are {type, data, dims}. */
export async function run(name, inputs) {
  worker ??= start();
  const port = await worker;
  asked += 1;
  port.postMessage({ number: asked, name, inputs });
  return new Promise((resolve, reject) => { waiting.set(asked, { resolve, reject }); });
}

async function start() {
  const [runtime, wasm, ...models] = await Promise.all(
    ['runtime', 'wasm', ...known.programs.map((name) => `program-${name}`)].map(unpacked));
  const source = new Blob([read('worker')], { type: 'text/javascript' });
  const port = new Worker(URL.createObjectURL(source)); // no module: files from a disk may not be that
  port.addEventListener('message', ({ data: { number, outputs, error } }) => {
    const { resolve, reject } = waiting.get(number);
    waiting.delete(number);
    if (error === undefined) resolve(outputs);
    else reject(new Error(error));
  });
  port.addEventListener('error', ({ message }) => {
    for (const { reject } of waiting.values()) reject(new Error(`the model does not run (${message})`));
    waiting.clear();
  });
  const byName = Object.fromEntries(known.programs.map((name, index) => [name, models[index]]));
  port.postMessage({ runtime, wasm, models: byName }, [runtime.buffer, wasm.buffer]);
  return port;
}

/** The bytes that an element of the page holds, in base64 of gzip. */
async function unpacked(id) {
  const packed = await fetch(`data:application/gzip;base64,${read(id)}`);
  const stream = packed.body.pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
